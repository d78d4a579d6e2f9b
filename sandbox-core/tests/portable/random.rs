//! Random nested values, there and back.

use std::collections::{BTreeMap, HashMap, VecDeque};

use proptest::prelude::*;
use ringfence_core::Portable;

use crate::{decoded, encoded};

#[derive(Portable, Clone, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Value {
    Nothing,
    Flag(bool),
    Number { narrow: i16, wide: u128, real: u64 },
    Text(String, char),
    Bytes(Vec<u8>),
    Numbers(VecDeque<i32>),
    List(Vec<Value>),
    Pair(Box<(Value, Value)>),
    Table(BTreeMap<String, Value>),
    Index(HashMap<u8, Option<Box<Value>>>),
    Outcome(Result<[u16; 3], Box<Value>>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nothing),
        any::<bool>().prop_map(Value::Flag),
        any::<(i16, u128, u64)>().prop_map(|(narrow, wide, real)| Value::Number { narrow, wide, real }),
        any::<(String, char)>().prop_map(|(text, char)| Value::Text(text, char)),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<VecDeque<i32>>().prop_map(Value::Numbers),
        any::<[u16; 3]>().prop_map(|numbers| Value::Outcome(Ok(numbers))),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            (inner.clone(), inner.clone()).prop_map(|pair| Value::Pair(Box::new(pair))),
            prop::collection::btree_map(any::<String>(), inner.clone(), 0..6).prop_map(Value::Table),
            prop::collection::hash_map(any::<u8>(), prop::option::of(inner.clone().prop_map(Box::new)), 0..6)
                .prop_map(Value::Index),
            inner.prop_map(|error| Value::Outcome(Err(Box::new(error)))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_values_survive(value in value()) {
        prop_assert_eq!(decoded::<Value>(&encoded(&value)), Ok(value));
    }

    #[test]
    fn random_bytes_are_decoded_or_refused(bytes in any::<Vec<u8>>()) {
        let _ = decoded::<Value>(&bytes);
        let _ = decoded::<Vec<Value>>(&bytes);
    }

    #[test]
    fn a_cut_value_is_refused(value in value(), cut in 1_usize..16) {
        let bytes = encoded(&value);
        let len = bytes.len() - cut.min(bytes.len());
        prop_assert!(decoded::<Value>(&bytes[..len]).is_err());
    }
}
