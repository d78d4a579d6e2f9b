use ringfence::Sandbox;

fn main() {
    let sandbox = Sandbox::process().unwrap();
    let text = String::from("owned");
    let _ = sandbox.run(move || text);
}
