use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let double: fn(u64) -> u64 = |x| 2 * x;
    let _ = sandbox.call(double, 2_u64);
}
