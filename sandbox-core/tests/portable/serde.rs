//! Types that only know serde, there and back, and under attack.

use std::collections::{BTreeMap, HashMap};

use ::serde::de::{DeserializeOwned, Deserializer};
use ::serde::{Deserialize, Serialize};
use ringfence_core::codec::{DecodeErrorKind, EncodeErrorKind, Encoder, Portable, Serde};
use ringfence_core::region::Outlet;

use crate::{decoded, encoded, refusal};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Config {
    name: String,
    letter: char,
    sizes: Vec<u64>,
    ratio: f64,
    wide: i128,
    tagged: Tagged,
    either: Vec<Either>,
    #[serde(flatten)]
    rest: BTreeMap<String, Either>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "kind")]
enum Tagged {
    Unit,
    Named { value: Option<u8> },
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
enum Either {
    Number(i64),
    Text(String),
    List(Vec<Either>),
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum External {
    Unit,
    Newtype(Option<Box<External>>),
    Tuple(u8, String),
    Struct { map: HashMap<u8, ()> },
}

fn config() -> Config {
    Config {
        name: "naïve".into(),
        letter: '€',
        sizes: vec![0, 1, u64::MAX],
        ratio: 0.5,
        wide: i128::MIN,
        tagged: Tagged::Named { value: None },
        either: vec![Either::Number(-5), Either::List(vec![Either::Text("t".into())])],
        rest: BTreeMap::from([("extra".into(), Either::Number(1))]),
    }
}

fn external() -> Vec<External> {
    vec![
        External::Unit,
        External::Newtype(Some(Box::new(External::Tuple(1, "x".into())))),
        External::Newtype(None),
        External::Struct { map: HashMap::from([(1, ()), (2, ())]) },
    ]
}

#[test]
fn serde_types_survive() {
    crate::survives(Serde(config()));
    crate::survives(Serde(external()));
    crate::survives(vec![Some(Serde(Tagged::Unit)), None]);
    crate::survives(Serde("long ".repeat(3000)));
    crate::survives(Serde((0..5000).collect::<Vec<u16>>()));
}

fn withstands_mutation<T: Serialize + DeserializeOwned + std::fmt::Debug>(value: T) {
    let bytes = encoded(&Serde(value));
    for len in 0..bytes.len() {
        assert!(decoded::<Serde<T>>(&bytes[..len]).is_err(), "cut to {len} of {}", bytes.len());
        // The same with a count that agrees with the cut.
        if let Some(inner) = len.checked_sub(8) {
            let counted = [&(inner as u64).to_le_bytes()[..], &bytes[8..len]].concat();
            assert!(decoded::<Serde<T>>(&counted).is_err(), "cut to {len} of {}", bytes.len());
        }
    }
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        for byte in 0..=u8::MAX {
            changed[position] = byte;
            let _ = decoded::<Serde<T>>(&changed);
        }
    }
}

#[test]
fn cut_and_changed_messages_do_no_harm() {
    withstands_mutation(config());
    withstands_mutation(external());
}

fn message(cbor: &[u8]) -> Vec<u8> {
    [&(cbor.len() as u64).to_le_bytes()[..], cbor].concat()
}

#[test]
fn bytes_after_the_value_are_refused() {
    assert_eq!(refusal::<Serde<u8>>(&message(&[1, 1])), Some(DecodeErrorKind::TrailingBytes));
    assert_eq!(refusal::<Serde<u8>>(&message(&[])), Some(DecodeErrorKind::UnexpectedEnd));
    assert_eq!(refusal::<Serde<u8>>(&message(&[0x1C])), Some(DecodeErrorKind::InvalidValue));
    assert_eq!(refusal::<Serde<u8>>(&message(&[0x61, b'a'])), Some(DecodeErrorKind::InvalidValue));
}

/// Recurses without taking a byte: an option that is there looks like what is in it.
#[derive(Serialize, Deserialize, Debug)]
struct Endless(Option<Box<Endless>>);

#[derive(Serialize, Deserialize, Debug)]
struct Nest(Vec<Nest>);

#[test]
fn nesting_ends_before_the_stack_does() {
    assert_eq!(refusal::<Serde<Endless>>(&message(&[0])), Some(DecodeErrorKind::DepthExceeded));
    assert_eq!(refusal::<Serde<Nest>>(&message(&[0x81; 10_000])), Some(DecodeErrorKind::DepthExceeded));
    assert_eq!(refusal::<Serde<Either>>(&message(&[0x81; 10_000])), Some(DecodeErrorKind::DepthExceeded));
    // A tag is a level to a type that takes anything, and none to others: both end.
    assert!(refusal::<Serde<Nest>>(&message(&[0xC1; 10_000])).is_some());
    assert!(refusal::<Serde<Either>>(&message(&[0xC1; 10_000])).is_some());
}

/// Takes no byte, so that nothing in the message bounds how many there are.
#[derive(Serialize, Debug)]
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn declared_lengths_are_not_believed() {
    let endless = [[0x9B].as_slice(), &(1_u64 << 62).to_be_bytes()].concat();
    assert_eq!(refusal::<Serde<Vec<Nothing>>>(&message(&endless)), Some(DecodeErrorKind::BudgetExceeded));
    assert_eq!(refusal::<Serde<Vec<u64>>>(&message(&endless)), Some(DecodeErrorKind::UnexpectedEnd));
    let text = [[0x7B].as_slice(), &u64::MAX.to_be_bytes()].concat();
    assert_eq!(refusal::<Serde<String>>(&message(&text)), Some(DecodeErrorKind::UnexpectedEnd));
    assert_eq!(refusal::<Serde<u8>>(&[0xFF; 9]), Some(DecodeErrorKind::UnexpectedEnd));
}

/// Its `Serialize` fails.
#[derive(Deserialize, Debug)]
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: ::serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(::serde::ser::Error::custom("no"))
    }
}

#[test]
fn encoding_reports_what_went_wrong() {
    let mut memory = [0; 20];
    let error = Serde(Refuses).encode(&mut Encoder::new(Outlet::new(&mut memory))).unwrap_err();
    assert_eq!(error.kind(), EncodeErrorKind::Refused);
    let text = Serde(String::from("longer than the region"));
    let error = text.encode(&mut Encoder::new(Outlet::new(&mut memory))).unwrap_err();
    assert_eq!(error.kind(), EncodeErrorKind::Full);
}
