//! A serde deserializer that charges for what passes through it.
//!
//! ciborium bounds neither what a type allocates nor every way to recurse: `struct N(Option<Box<N>>)`
//! recurses on a single byte, and serde reserves up to 1 MiB for each nested sequence on the word of its
//! declared length (`size_hint::cautious`). [`Guarded`] puts a layer between ciborium and the type. The layer
//! counts every level, hides declared lengths, and charges an upper bound of each allocation before the type
//! can make it.
//!
//! ciborium's deserializer cannot carry our state, so the account lies in a thread-local for the time of [`within`].

use core::cell::Cell;
use core::fmt;

use ::serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::error::{DecodeError, DecodeErrorKind};

/// Charged for each value: it may be put in an allocation of its own, two reference counts and padding in front.
const BOX_BYTES: usize = 24;
/// Charged for each element on top of its size: links of trees and lists, control bytes of tables.
const ENTRY_BYTES: usize = 8;
/// Growth by doubling, the old half still there, or nodes half full.
const GROWTH: usize = 4;
/// Charged for the first element: a tree's first node has room for eleven entries.
const FIRST: usize = 12;
const FIRST_BYTES: usize = 64;

#[derive(Clone, Copy)]
struct Account {
    depth_left: u32,
    bytes_left: usize,
    refusal: Option<DecodeErrorKind>,
}

thread_local! {
    static ACCOUNT: Cell<Account> =
        const { Cell::new(Account { depth_left: 0, bytes_left: 0, refusal: None }) };
}

/// What a decode under guard came to.
pub(super) struct Spent {
    pub(super) bytes: usize,
    pub(super) refusal: Option<DecodeError>,
}

/// Runs `decode` with everything [`Guarded`] in it held to `depth` levels and `bytes` of heap.
pub(super) fn within<R>(depth: u32, bytes: usize, decode: impl FnOnce() -> R) -> (R, Spent) {
    /// Puts the outer account back, also when `decode` unwinds out of a type's own code.
    struct Restore(Account);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACCOUNT.set(self.0);
        }
    }
    let opened = Account { depth_left: depth, bytes_left: bytes, refusal: None };
    let _restore = Restore(ACCOUNT.replace(opened));
    let result = decode();
    let closed = ACCOUNT.get();
    (result, Spent { bytes: bytes - closed.bytes_left, refusal: closed.refusal.map(DecodeError::from) })
}

fn refuse<E: Error>(kind: DecodeErrorKind) -> E {
    ACCOUNT.set(Account { refusal: Some(kind), ..ACCOUNT.get() });
    E::custom("limit exceeded")
}

fn charge<E: Error>(bytes: usize) -> Result<(), E> {
    let account = ACCOUNT.get();
    match account.bytes_left.checked_sub(bytes) {
        Some(bytes_left) => {
            ACCOUNT.set(Account { bytes_left, ..account });
            Ok(())
        }
        None => Err(refuse(DecodeErrorKind::BudgetExceeded)),
    }
}

/// Charges a value of `T` and runs `body` one level deeper.
fn value<T, R, E: Error>(body: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    charge(size_of::<T>().saturating_add(BOX_BYTES))?;
    let account = ACCOUNT.get();
    let Some(depth_left) = account.depth_left.checked_sub(1) else {
        return Err(refuse(DecodeErrorKind::DepthExceeded));
    };
    ACCOUNT.set(Account { depth_left, ..account });
    let result = body();
    ACCOUNT.set(Account { depth_left: account.depth_left, ..ACCOUNT.get() });
    result
}

/// A `T` whose deserialization is charged to the account of the enclosing [`within`].
pub(super) struct Guarded<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Guarded<T> {
    fn deserialize<D: Deserializer<'de>>(inner: D) -> Result<Self, D::Error> {
        T::deserialize(Guard(inner)).map(Self)
    }
}

/// The layer: around a deserializer, a visitor, a seed, or an access to parts.
struct Guard<T>(T);

macro_rules! deserialize {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            value::<V::Value, _, _>(|| self.0.$method($($name,)* Guard(visitor)))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<D> {
    type Error = D::Error;

    deserialize! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, plain: $type) -> Result<V::Value, E> {
            self.0.$method(plain)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Guard(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Guard(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Parts { inner: elements, factor: FIRST })
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Parts { inner: entries, factor: FIRST })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Guard(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Guard(inner))
    }
}

/// The elements of a sequence, or the entries of a map. How many were declared is not told.
struct Parts<A> {
    inner: A,
    /// How often the size of the next part is charged.
    factor: usize,
}

impl<A> Parts<A> {
    /// Charges for a part of type `T` and lets `next` decode it; takes the charge back if there was none.
    fn part<T, E: Error>(
        &mut self,
        next: impl FnOnce(&mut A) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let bytes_left = ACCOUNT.get().bytes_left;
        self.charge(size_of::<T>())?;
        let part = next(&mut self.inner)?;
        if part.is_none() {
            ACCOUNT.set(Account { bytes_left, ..ACCOUNT.get() });
        }
        Ok(part)
    }

    fn charge<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let extra = if self.factor == FIRST { FIRST_BYTES } else { ENTRY_BYTES };
        charge(bytes.saturating_mul(self.factor).saturating_add(extra))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Parts<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let element = self.part(|inner| inner.next_element_seed(Guard(seed)));
        self.factor = GROWTH;
        element
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Parts<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.part(|inner| inner.next_key_seed(Guard(seed)))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        // Key and value lie side by side, padded to the larger alignment of the two.
        self.charge(size_of::<S::Value>().saturating_add(align_of::<S::Value>()))?;
        self.factor = GROWTH;
        self.inner.next_value_seed(Guard(seed))
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Guard<A> {
    type Error = A::Error;
    type Variant = Guard<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Guard(seed))?;
        Ok((value, Guard(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guard<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Guard(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Guard(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Guard(visitor))
    }
}
