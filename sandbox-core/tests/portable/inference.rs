//! The shape of `Sandbox::call` compiles, and closures need no more annotations than their arguments.

use ringfence_core::codec::{Arrived, Bincode, Decoder, Encoder, Inward, Outward};
use ringfence_core::region::{Outlet, Source};

fn call<F, A, R, C>(function: F, arguments: A) -> R
where
    C: Inward<A> + Outward<R>,
    F: for<'a> Fn(Arrived<'a, C, A>) -> R,
{
    let mut memory = [0; 256];
    let mut out = Encoder::new(Outlet::new(&mut memory));
    <C as Inward<A>>::encode(&arguments, &mut out).unwrap();
    let len = out.len();
    let mut input = Decoder::new(Source::stable(&memory[..len]), 1 << 10);
    let inside = <C as Inward<A>>::decode(&mut input).unwrap();
    input.finish().unwrap();
    let result = function(inside);

    let mut memory = [0; 256];
    let mut out = Encoder::new(Outlet::new(&mut memory));
    <C as Outward<R>>::encode(&result, &mut out).unwrap();
    let len = out.len();
    <C as Outward<R>>::decode(&mut Decoder::new(Source::stable(&memory[..len]), 1 << 10)).unwrap()
}

fn total(numbers: Vec<u64>) -> u64 {
    numbers.iter().sum()
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn closures_and_functions_infer() {
    let data = [1_u8, 2, 3];
    assert_eq!(call::<_, _, _, Bincode>(|bytes: &[u8]| bytes.len(), &data[..]), 3);
    assert_eq!(call::<_, _, _, Bincode>(|bytes| bytes.len(), &data[..]), 3);
    assert_eq!(call::<_, _, _, Bincode>(|x| x + 1, 1_u64), 2);
    assert_eq!(call::<_, _, _, Bincode>(|(a, s): (u64, &str)| s.len() as u64 + a, (1_u64, "x")), 2);
    assert_eq!(call::<_, _, _, Bincode>(total, vec![1_u64, 2, 3]), 6);
    assert_eq!(call::<_, _, _, Bincode>(first_word, "one two"), "one");
    assert_eq!(call::<_, _, _, Bincode>(|()| String::from("unit"), ()), "unit");
    let result: Result<u8, String> = call::<_, _, _, Bincode>(|n| Err(format!("{n}")), 5_u8);
    assert_eq!(result, Err("5".into()));
}
