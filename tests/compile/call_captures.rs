use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let factor = 3_u64;
    let _ = sandbox.call(move |x: u64| x * factor, 2_u64);
}
