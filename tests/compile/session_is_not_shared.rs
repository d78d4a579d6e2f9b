use ringfence::Sandbox;

fn shared<T: Sync>(_: &T) {}

fn main() {
    let sandbox = Sandbox::process().unwrap();
    shared(&sandbox);
    shared(&sandbox.session().unwrap());
}
