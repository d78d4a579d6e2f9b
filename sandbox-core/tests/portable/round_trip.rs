//! Every impl, there and back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{CString, OsString};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZero, Wrapping};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use ringfence_core::codec::{EncodeErrorKind, Encoder, Owned, Portable};
use ringfence_core::region::Outlet;

use crate::{decoded, encoded, survives};

/// As [`survives`], and bincode itself writes the same bytes.
#[track_caller]
fn as_bincode<T: Owned + PartialEq + std::fmt::Debug + bincode::Encode>(value: T) {
    let expected = bincode::encode_to_vec(&value, bincode::config::legacy()).unwrap();
    assert_eq!(encoded(&value), expected, "{value:?}");
    survives(value);
}

macro_rules! numbers {
    ($($type:ident)*) => {$(
        for value in [<$type>::MIN, <$type>::MAX, 0 as $type, 1 as $type, 100 as $type] {
            as_bincode(value);
        }
        as_bincode(vec![<$type>::MIN, 2 as $type, <$type>::MAX]);
        as_bincode([<$type>::MAX, 3 as $type]);
        as_bincode(Vec::<$type>::new());
    )*};
}

#[test]
fn numbers() {
    numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
    as_bincode(f64::INFINITY);
    let bits = 0x7ff0_dead_beef_0001;
    assert_eq!(decoded::<f64>(&encoded(&f64::from_bits(bits))).unwrap().to_bits(), bits);
    as_bincode(NonZero::new(7_u8).unwrap());
    as_bincode(NonZero::new(-7_i128).unwrap());
    as_bincode(NonZero::<usize>::MAX);
    as_bincode(Wrapping(250_u8));
}

#[test]
fn scalars() {
    as_bincode(true);
    as_bincode(false);
    for char in ['\0', 'z', 'ß', '€', '🦀', char::MAX] {
        as_bincode(char);
    }
    as_bincode(());
    as_bincode(Duration::new(u64::MAX, 999_999_999));
    as_bincode(Ipv4Addr::LOCALHOST);
    as_bincode(Ipv6Addr::LOCALHOST);
    as_bincode(IpAddr::V4(Ipv4Addr::BROADCAST));
    as_bincode(IpAddr::V6(Ipv6Addr::LOCALHOST));
    survives(PhantomData::<str>);
    for ordering in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
        survives(ordering);
    }
}

#[test]
fn text() {
    for text in ["", "a", "grüße 🦀"] {
        as_bincode(text.to_owned());
        as_bincode(text.to_owned().into_boxed_str());
        survives(PathBuf::from(text));
        survives(CString::new(text).unwrap());
    }
    survives(OsString::from_vec(vec![0xFF, b'/', 0x80]));
}

#[test]
fn borrowed_values_point_into_the_message() {
    let bytes = encoded(&("über", &[1_u8, 2, 3][..]));
    let (text, raw) = decoded::<(&str, &[u8])>(&bytes).unwrap();
    assert_eq!((text, raw), ("über", &[1_u8, 2, 3][..]));
    assert!(bytes.as_ptr_range().contains(&text.as_ptr()));
    assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
    let bytes = encoded(&vec![Some("a"), None, Some("b")]);
    assert_eq!(decoded::<Vec<Option<&str>>>(&bytes).unwrap(), [Some("a"), None, Some("b")]);
}

#[test]
fn composites() {
    as_bincode(Some(Some(5_u16)));
    as_bincode(None::<String>);
    as_bincode(Ok::<u8, String>(1));
    as_bincode(Err::<u8, String>("no".into()));
    as_bincode(Box::new(9_u64));
    as_bincode([String::from("a"), String::new()]);
    as_bincode([[1.5_f32; 3]; 2]);
    as_bincode([(); 3]);
    as_bincode(3_u8..9);
    as_bincode((1_u8,));
    as_bincode((1_u8, 2_u16, 3_u32, 4_u64, 5_u128, true, 'c', String::from("h")));
}

#[test]
fn collections() {
    as_bincode(vec![vec![1_u64, 2], vec![], vec![3]]);
    as_bincode(vec![String::from("x"), String::new()]);
    as_bincode(vec![true, false]);
    as_bincode(vec![1_u16, 2].into_boxed_slice());
    let mut wrapped = VecDeque::from([2_u32, 3]);
    wrapped.push_front(1);
    as_bincode(wrapped);
    for count in [0, 1, 3, 4, 7, 8, 100, 1000] {
        as_bincode((0..count).map(|n: u32| (n, n.to_string())).collect::<HashMap<_, _>>());
        as_bincode((0..count).map(|n: u32| (n.to_string(), n)).collect::<BTreeMap<_, _>>());
        as_bincode((0..count).collect::<HashSet<u32>>());
        as_bincode((0..count).collect::<BTreeSet<u32>>());
    }
}

#[test]
fn a_full_region_is_an_error_at_every_length() {
    let value = (vec![1_u32, 2], String::from("text"), Some(BTreeMap::from([(1_u8, 'c')])));
    let len = encoded(&value).len();
    for capacity in 0..len {
        let mut memory = vec![0; capacity];
        let error = value.encode(&mut Encoder::new(Outlet::new(&mut memory))).unwrap_err();
        assert_eq!(error.kind(), EncodeErrorKind::Full, "{capacity} of {len} bytes");
        assert_eq!(error.to_string(), "encode value: the region is full");
    }
    let mut memory = vec![0; len];
    value.encode(&mut Encoder::new(Outlet::new(&mut memory))).unwrap();
}
