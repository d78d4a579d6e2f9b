use ringfence::Portable;

struct Opaque;

#[derive(Portable)]
struct Holder {
    number: u64,
    opaque: Opaque,
}

fn main() {
    let _ = Holder { number: 1, opaque: Opaque };
}
