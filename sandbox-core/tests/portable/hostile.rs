//! What a hostile isolate would send.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::num::NonZero;

use ringfence_core::Portable;
use ringfence_core::codec::{DecodeErrorKind, Decoder, EncodeErrorKind, Encoder, Owned};
use ringfence_core::region::{Outlet, Source};

use crate::{decoded, encoded, refusal};

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Record {
    id: u64,
    names: Vec<String>,
    flags: [bool; 2],
    letter: char,
    maybe: Option<Box<Record>>,
    outcome: Result<(u8, i16), String>,
    table: BTreeMap<u16, Vec<u8>>,
    kind: Kind,
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Kind {
    Plain,
    Named { name: Box<str>, ratio: f32 },
}

fn record(depth: u8) -> Record {
    Record {
        id: 7,
        names: vec!["α".into(), String::new()],
        flags: [true, false],
        letter: '€',
        maybe: (depth > 0).then(|| Box::new(record(depth - 1))),
        outcome: if depth == 0 { Err("e".into()) } else { Ok((1, -1)) },
        table: BTreeMap::from([(1, vec![1, 2]), (2, vec![])]),
        kind: if depth == 0 { Kind::Plain } else { Kind::Named { name: "k".into(), ratio: 0.5 } },
    }
}

/// Every truncation is refused; every change of one byte is refused or is the encoding of what it decodes to.
fn withstands_mutation<T: Owned>(value: &T) {
    let bytes = encoded(value);
    for len in 0..bytes.len() {
        assert!(decoded::<T>(&bytes[..len]).is_err(), "cut to {len} of {}", bytes.len());
    }
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        for byte in 0..=u8::MAX {
            changed[position] = byte;
            if let Ok(value) = decoded::<T>(&changed) {
                assert_eq!(encoded(&value), changed, "byte {position} set to {byte}");
            }
        }
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(refusal::<T>(&longer), Some(DecodeErrorKind::TrailingBytes));
}

#[test]
fn cut_and_changed_messages_are_refused_or_faithful() {
    withstands_mutation(&record(1));
    withstands_mutation(&(String::from("text"), Some('x'), vec![Some(1_u8), None]));
    withstands_mutation(&(CString::from(c"c"), NonZero::<u32>::MIN, std::cmp::Ordering::Less, 1_u8..3));
    withstands_mutation(&vec![vec![vec![1_u64]]]);
}

#[test]
fn malformed_scalars_are_refused_by_name() {
    assert_eq!(refusal::<bool>(&[2]), Some(DecodeErrorKind::InvalidBool));
    assert_eq!(refusal::<char>(&[0xFF]), Some(DecodeErrorKind::InvalidChar));
    assert_eq!(refusal::<char>(&[0xED, 0xA0, 0x80]), Some(DecodeErrorKind::InvalidChar));
    assert_eq!(refusal::<Option<u8>>(&[2, 0]), Some(DecodeErrorKind::InvalidDiscriminant));
    assert_eq!(refusal::<Result<(), ()>>(&[2, 0, 0, 0]), Some(DecodeErrorKind::InvalidDiscriminant));
    assert_eq!(
        refusal::<std::net::IpAddr>(&[9, 0, 0, 0, 0, 0, 0, 0]),
        Some(DecodeErrorKind::InvalidDiscriminant)
    );
    assert_eq!(refusal::<std::cmp::Ordering>(&[2]), Some(DecodeErrorKind::InvalidDiscriminant));
    assert_eq!(refusal::<NonZero<u16>>(&[0, 0]), Some(DecodeErrorKind::InvalidValue));
    let duration = [[0xFF; 8].as_slice(), &[0xFF; 4]].concat();
    assert!(refusal::<std::time::Duration>(&duration).is_some());
    assert_eq!(refusal::<()>(&[0]), Some(DecodeErrorKind::TrailingBytes));
    assert_eq!(refusal::<u8>(&[]), Some(DecodeErrorKind::UnexpectedEnd));
}

#[test]
fn text_that_is_not_text_is_refused() {
    let bytes = encoded(&vec![b'a', 0xFF]);
    assert_eq!(refusal::<String>(&bytes), Some(DecodeErrorKind::InvalidUtf8));
    assert_eq!(refusal::<Box<str>>(&bytes), Some(DecodeErrorKind::InvalidUtf8));
    assert_eq!(refusal::<&str>(&bytes), Some(DecodeErrorKind::InvalidUtf8));
    assert_eq!(refusal::<CString>(&encoded(&vec![b'a', 0, b'b'])), Some(DecodeErrorKind::InvalidValue));
}

#[test]
fn keys_that_repeat_are_refused() {
    let pairs = encoded(&vec![(1_u8, 'a'), (2, 'b'), (1, 'c')]);
    assert_eq!(refusal::<HashMap<u8, char>>(&pairs), Some(DecodeErrorKind::InvalidValue));
    assert_eq!(refusal::<BTreeMap<u8, char>>(&pairs), Some(DecodeErrorKind::InvalidValue));
    let keys = encoded(&vec![1_u8, 1]);
    assert_eq!(refusal::<HashSet<u8>>(&keys), Some(DecodeErrorKind::InvalidValue));
    assert_eq!(refusal::<BTreeSet<u8>>(&keys), Some(DecodeErrorKind::InvalidValue));
}

#[test]
fn ordered_keys_that_do_not_ascend_are_refused() {
    let pairs = encoded(&vec![(2_u8, 'a'), (1, 'b')]);
    assert_eq!(refusal::<BTreeMap<u8, char>>(&pairs), Some(DecodeErrorKind::InvalidValue));
    assert_eq!(refusal::<HashMap<u8, char>>(&pairs), None);
    assert_eq!(refusal::<BTreeSet<u8>>(&encoded(&vec![2_u8, 1])), Some(DecodeErrorKind::InvalidValue));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for count in [2_u64, 1 << 32, 1 << 61, 1 << 62, 1 << 63, u64::MAX] {
        let bytes = [&count.to_le_bytes()[..], &[1]].concat();
        let end = Some(DecodeErrorKind::UnexpectedEnd);
        assert_eq!(refusal::<Vec<u8>>(&bytes), end, "{count}");
        assert_eq!(refusal::<String>(&bytes), end);
        assert_eq!(refusal::<&[u8]>(&bytes), end);
        assert_eq!(refusal::<Vec<bool>>(&bytes), end);
        assert_eq!(refusal::<HashSet<u8>>(&bytes), end);
        let wide = if count >= 1 << 61 { Some(DecodeErrorKind::LengthOverflow) } else { end };
        assert_eq!(refusal::<Vec<u64>>(&bytes), wide, "{count}");
        assert_eq!(refusal::<Box<[String]>>(&bytes), wide);
        assert_eq!(refusal::<BTreeMap<u32, f32>>(&bytes), wide);
    }
}

#[derive(Portable, Debug)]
#[portable(crate = "::ringfence_core")]
struct Chain(Option<Box<Chain>>);

#[derive(Portable, Debug)]
#[portable(crate = "::ringfence_core")]
struct Tree(Vec<Tree>);

#[test]
fn nesting_ends_before_the_stack_does() {
    let mut chain = vec![1_u8; 1 << 20];
    chain.push(0);
    assert_eq!(refusal::<Chain>(&chain), Some(DecodeErrorKind::DepthExceeded));
    let tree = [1_u64.to_le_bytes(); 1 << 16].concat();
    assert_eq!(refusal::<Tree>(&tree), Some(DecodeErrorKind::DepthExceeded));
}

#[test]
fn depth_is_what_the_constructor_says() {
    // Struct, option and box are a level each.
    let chain = Chain(Some(Box::new(Chain(None))));
    let bytes = encoded(&chain);
    for depth in 0..6 {
        let mut memory = [0; 16];
        let sent = chain.encode(&mut Encoder::with_depth(Outlet::new(&mut memory), depth));
        let received = Chain::decode(&mut Decoder::with_depth(Source::stable(&bytes), 1 << 10, depth));
        if depth < 4 {
            assert_eq!(sent.unwrap_err().kind(), EncodeErrorKind::DepthExceeded);
            assert_eq!(received.unwrap_err().kind(), DecodeErrorKind::DepthExceeded);
        } else {
            sent.unwrap();
            received.unwrap();
        }
    }
    // A level is given back when it is left.
    let mut input = Decoder::with_depth(Source::stable(&[0, 0, 0]), 0, 1);
    for _ in 0..3 {
        Chain::decode(&mut input).unwrap();
    }
}
