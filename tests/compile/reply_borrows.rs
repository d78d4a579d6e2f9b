use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let _ = sandbox.run(|| "borrowed");
}
