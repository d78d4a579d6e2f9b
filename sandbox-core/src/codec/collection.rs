//! `Portable` for counted collections: a `u64` count, then the elements.
//!
//! A count is refused before anything is allocated if the remaining bytes cannot hold so many elements; the
//! heap the collection will need is then claimed as a whole. Memory comes from fallible allocation where the
//! standard library has it, which is everywhere but in the B-trees.

use core::hash::{BuildHasher, Hash};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::portable::{Owned, Portable, counted};

const COUNT_BYTES: usize = size_of::<u64>();

impl<T: Portable> Portable for Vec<T> {
    type Inside<'a> = Vec<T::Inside<'a>>;
    const MIN_BYTES: usize = COUNT_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        encode_slice(self, out)
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        decode_vec::<T>(input)
    }
}

impl<T: Portable> Portable for Box<[T]> {
    type Inside<'a> = Box<[T::Inside<'a>]>;
    const MIN_BYTES: usize = COUNT_BYTES;

    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        encode_slice(self, out)
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self::Inside<'a>, DecodeError> {
        decode_vec::<T>(input).map(Vec::into_boxed_slice)
    }
}

impl<T: Owned> Portable for VecDeque<T> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        const { counted::<T>() };
        out.write_count(self.len())?;
        let (front, back) = self.as_slices();
        out.nested(|out| {
            T::encode_slice(front, out)?;
            T::encode_slice(back, out)
        })
    }

    #[inline]
    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        decode_vec::<T>(input).map(VecDeque::from)
    }
}

#[inline]
fn encode_slice<T: Portable>(items: &[T], out: &mut Encoder<'_>) -> Result<(), EncodeError> {
    const { counted::<T>() };
    out.write_count(items.len())?;
    out.nested(|out| T::encode_slice(items, out))
}

#[inline]
fn decode_vec<'a, T: Portable>(input: &mut Decoder<'a>) -> Result<Vec<T::Inside<'a>>, DecodeError> {
    let count = input.read_count(const { counted::<T>() })?;
    input.nested(|input| T::decode_vec(input, count))
}

/// Writes the entries of a collection that is not contiguous.
fn encode_each<T>(
    entries: impl ExactSizeIterator<Item = T>,
    out: &mut Encoder<'_>,
    encode: impl Fn(T, &mut Encoder<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    out.write_count(entries.len())?;
    out.nested(|out| {
        for entry in entries {
            encode(entry, out)?;
        }
        Ok(())
    })
}

impl<K, V, S> Portable for HashMap<K, V, S>
where
    K: Owned + Eq + Hash,
    V: Owned,
    S: BuildHasher + Default,
{
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        const { counted::<(K, V)>() };
        encode_each(self.iter(), out, |(key, value), out| {
            key.encode(out)?;
            value.encode(out)
        })
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let count = input.read_count(const { counted::<(K, V)>() })?;
        input.nested(|input| {
            input.claim_bytes(table_bytes::<(K, V)>(count))?;
            let mut map = Self::default();
            map.try_reserve(count).map_err(|_| DecodeErrorKind::OutOfMemory)?;
            for _ in 0..count {
                fresh(map.insert(K::decode(input)?, V::decode(input)?).is_none())?;
            }
            Ok(map)
        })
    }
}

impl<T, S> Portable for HashSet<T, S>
where
    T: Owned + Eq + Hash,
    S: BuildHasher + Default,
{
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        const { counted::<T>() };
        encode_each(self.iter(), out, T::encode)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let count = input.read_count(const { counted::<T>() })?;
        input.nested(|input| {
            input.claim_bytes(table_bytes::<T>(count))?;
            let mut set = Self::default();
            set.try_reserve(count).map_err(|_| DecodeErrorKind::OutOfMemory)?;
            for _ in 0..count {
                fresh(set.insert(T::decode(input)?))?;
            }
            Ok(set)
        })
    }
}

impl<K: Owned + Ord, V: Owned> Portable for BTreeMap<K, V> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        const { counted::<(K, V)>() };
        encode_each(self.iter(), out, |(key, value), out| {
            key.encode(out)?;
            value.encode(out)
        })
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let count = input.read_count(const { counted::<(K, V)>() })?;
        input.nested(|input| {
            input.claim_bytes(tree_bytes::<K, V>(count))?;
            let mut map = Self::new();
            for _ in 0..count {
                let key = K::decode(input)?;
                ascending(map.last_key_value().map(|(last, _)| last), &key)?;
                map.insert(key, V::decode(input)?);
            }
            Ok(map)
        })
    }
}

impl<T: Owned + Ord> Portable for BTreeSet<T> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = COUNT_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        const { counted::<T>() };
        encode_each(self.iter(), out, T::encode)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let count = input.read_count(const { counted::<T>() })?;
        input.nested(|input| {
            input.claim_bytes(tree_bytes::<T, ()>(count))?;
            let mut set = Self::new();
            for _ in 0..count {
                let key = T::decode(input)?;
                ascending(set.last(), &key)?;
                set.insert(key);
            }
            Ok(set)
        })
    }
}

/// No encoder writes a key twice.
fn fresh(inserted: bool) -> Result<(), DecodeError> {
    if inserted { Ok(()) } else { Err(DecodeError::invalid_value("a key occurs twice")) }
}

/// An ordered collection is written in its order, without repetition.
fn ascending<K: Ord>(last: Option<&K>, key: &K) -> Result<(), DecodeError> {
    if last.is_none_or(|last| last < key) {
        Ok(())
    } else {
        Err(DecodeError::invalid_value("the keys do not ascend"))
    }
}

/// An upper bound of the heap a hash table of `count` entries asks for: a power of two of slots, at most 7/8
/// full, a control byte each, and one group of control bytes more (hashbrown, `raw.rs`:
/// `capacity_to_buckets`, `TableLayout`).
fn table_bytes<T>(count: usize) -> usize {
    const GROUP_BYTES: usize = 16;
    if count == 0 {
        return 0;
    }
    let least = 4.max(GROUP_BYTES / size_of::<T>().max(1));
    (count.saturating_mul(8) / 7)
        .saturating_add(1)
        .max(least)
        .checked_next_power_of_two()
        .and_then(|slots| slots.checked_mul(size_of::<T>() + 1))
        .and_then(|bytes| bytes.checked_add(2 * GROUP_BYTES + align_of::<T>()))
        .unwrap_or(usize::MAX)
}

/// An upper bound of the heap that `count` insertions into a B-tree ask for: nodes of 11 entries, all but the
/// root at least 5 entries full, with 12 children each if there is more than one
/// (`alloc::collections::btree::node`).
fn tree_bytes<K, V>(count: usize) -> usize {
    const ENTRIES: usize = 11;
    const FULL_AT_LEAST: usize = 5;
    const HEADER_BYTES: usize = 2 * size_of::<usize>();
    const CHILDREN_BYTES: usize = (ENTRIES + 1) * size_of::<usize>();
    let leaf = ENTRIES
        .saturating_mul(size_of::<K>().saturating_add(size_of::<V>()))
        .saturating_add(HEADER_BYTES + align_of::<K>() + align_of::<V>());
    match count {
        0 => 0,
        1..=ENTRIES => leaf,
        _ => (count / FULL_AT_LEAST).saturating_add(1).saturating_mul(leaf.saturating_add(CHILDREN_BYTES)),
    }
}
