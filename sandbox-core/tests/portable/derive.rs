//! `#[derive(Portable)]` on every shape of type.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ringfence_core::Portable;
use ringfence_core::codec::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder};

use crate::{decoded, encoded, refusal, survives};

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Person {
    first: String,
    last: String,
    email: String,
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Pair(u8, Vec<u16>);

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Unit;

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Empty {}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Shape {
    Point,
    Circle(f64),
    Polygon { corners: Vec<(f32, f32)>, name: Option<String> },
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Never {}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct List {
    value: u32,
    next: Option<Box<List>>,
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Tree {
    Leaf(i8),
    Node(Box<Tree>, Box<Tree>),
    Wide(Vec<Tree>),
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct View<'s, 't: 's, const N: usize> {
    name: &'s str,
    parts: Vec<&'t [u8]>,
    inner: Inner<'s>,
    numbers: [u8; N],
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
enum Inner<'s> {
    Text(&'s str),
    Nothing,
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Generic<T, U: Ord = u8>
where
    T: Debug,
{
    many: Vec<T>,
    one: Option<Box<T>>,
    table: BTreeMap<U, Vec<T>>,
}

#[derive(Portable, Debug, PartialEq)]
#[portable(crate = "::ringfence_core")]
struct Mixed<'s, T> {
    text: &'s str,
    value: T,
}

macro_rules! by_macro {
    ($name:ident, $type:ty) => {
        #[derive(Portable, Debug, PartialEq)]
        #[portable(crate = "::ringfence_core")]
        struct $name {
            r#type: $type,
            input: u8,
            out: u16,
            field: Option<u8>,
        }
    };
}
by_macro!(ByMacro, Vec<u8>);

#[test]
fn every_shape_survives() {
    survives(Person { first: "Ada".into(), last: "Lovelace".into(), email: String::new() });
    survives(Pair(1, vec![2, 3]));
    survives(Unit);
    survives(Empty {});
    survives(Shape::Point);
    survives(Shape::Circle(1.5));
    survives(Shape::Polygon { corners: vec![(0.0, 1.0)], name: Some("p".into()) });
    survives(Generic::<String> {
        many: vec!["a".into()],
        one: Some(Box::new("b".into())),
        table: BTreeMap::from([(1, vec![])]),
    });
    survives(Mixed { text: PhantomText::TEXT, value: 1_u8 }.value);
    survives(ByMacro { r#type: vec![1], input: 2, out: 3, field: None });
}

struct PhantomText;
impl PhantomText {
    const TEXT: &'static str = "x";
}

#[test]
fn recursive_types_survive_within_the_depth() {
    let list = (0..40).fold(None, |next, value| Some(Box::new(List { value, next })));
    survives(list);
    let tree = (0..30).fold(Tree::Leaf(-1), |tree, n| Tree::Node(Box::new(tree), Box::new(Tree::Leaf(n))));
    survives(Tree::Wide(vec![tree, Tree::Wide(vec![]), Tree::Leaf(3)]));
}

#[test]
fn types_with_lifetimes_arrive_with_the_messages() {
    let view = View { name: "n", parts: vec![b"ab", b""], inner: Inner::Text("t"), numbers: [1, 2] };
    let bytes = encoded(&view);
    assert_eq!(decoded::<View<'_, '_, 2>>(&bytes), Ok(view));
    let bytes = encoded(&Inner::Nothing);
    assert_eq!(decoded::<Inner<'_>>(&bytes), Ok(Inner::Nothing));
    let mixed = Mixed { text: "m", value: vec![1_u32] };
    let bytes = encoded(&mixed);
    let arrived = decoded::<Mixed<'_, Vec<u32>>>(&bytes).unwrap();
    assert!(bytes.as_ptr_range().contains(&arrived.text.as_ptr()));
    assert_eq!(arrived, mixed);
}

#[test]
fn least_sizes_add_up() {
    assert_eq!(<Person as Portable>::MIN_BYTES, 24);
    assert_eq!(<Pair as Portable>::MIN_BYTES, 9);
    assert_eq!(<Unit as Portable>::MIN_BYTES, 0);
    assert_eq!(<Shape as Portable>::MIN_BYTES, 4);
    assert_eq!(<List as Portable>::MIN_BYTES, 5);
    assert_eq!(<[u32; 3] as Portable>::MIN_BYTES, 12);
    assert_eq!(<(u8, [Unit; 9]) as Portable>::MIN_BYTES, 1);
}

#[test]
fn variants_that_do_not_exist_are_refused() {
    assert_eq!(encoded(&Shape::Circle(0.0))[..4], 1_u32.to_le_bytes());
    for index in [3_u32, 256, u32::MAX] {
        let error = decoded::<Shape>(&index.to_le_bytes()).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidDiscriminant);
        assert_eq!(error.to_string(), "decode value: no such variant: Shape");
    }
    assert_eq!(refusal::<Never>(&[0; 4]), Some(DecodeErrorKind::InvalidDiscriminant));
    assert_eq!(refusal::<Option<Never>>(&[0]), None);
}

/// An impl by hand, with an invariant of its own.
#[derive(Debug, PartialEq)]
struct Even(u32);

impl Portable for Even {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = u32::MIN_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        if self.0 % 2 == 1 {
            return Err(EncodeError::refused("the number is odd"));
        }
        self.0.encode(out)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let number = u32::decode(input)?;
        if number % 2 == 1 { Err(DecodeError::invalid_value("the number is odd")) } else { Ok(Self(number)) }
    }
}

#[test]
fn a_hand_written_impl_can_refuse() {
    survives(vec![Even(2), Even(4)]);
    let error = decoded::<Even>(&3_u32.to_le_bytes()).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::InvalidValue);
    assert_eq!(error.to_string(), "decode value: invalid value: the number is odd");
    let mut memory = [0; 4];
    let error =
        Even(1).encode(&mut Encoder::new(ringfence_core::region::Outlet::new(&mut memory))).unwrap_err();
    assert_eq!(error.to_string(), "encode value: the number is odd");
}
