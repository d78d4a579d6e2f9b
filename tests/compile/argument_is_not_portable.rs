use ringfence::Sandbox;

struct Opaque;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let _ = sandbox.call(|_: Opaque| 1_u64, Opaque);
}
