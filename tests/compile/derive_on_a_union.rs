use ringfence::Portable;

#[derive(Portable)]
union Either {
    number: u64,
    bytes: [u8; 8],
}

fn main() {
    let _ = Either { number: 1 };
}
