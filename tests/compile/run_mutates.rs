use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let mut total = 0_u64;
    let _: Result<(), _> = sandbox.run(|| total += 1);
}
