use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let _ = sandbox.call(|count: u64| vec![(); count as usize], 3_u64);
}
