//! The heap a hostile message can make the decoder ask for, as the allocator sees it.
//!
//! # Safety
//!
//! Unsafe code here is a global allocator that counts and passes everything on to the system's.
#![expect(unsafe_code, reason = "a global allocator")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::CString;

use ringfence_core::Portable;
use ringfence_core::codec::{DecodeErrorKind, Decoder, Encoder};
use ringfence_core::region::{Outlet, Source};

#[derive(Clone, Copy)]
struct Heap {
    /// All allocations added up.
    asked_bytes: usize,
    live_bytes: isize,
    peak_bytes: isize,
}

thread_local! {
    static HEAP: Cell<Heap> = const { Cell::new(Heap { asked_bytes: 0, live_bytes: 0, peak_bytes: 0 }) };
}

struct Counting;

fn count(asked: usize, returned: usize) {
    let mut heap = HEAP.get();
    heap.asked_bytes += asked;
    heap.live_bytes += asked as isize;
    heap.peak_bytes = heap.peak_bytes.max(heap.live_bytes);
    heap.live_bytes -= returned as isize;
    HEAP.set(heap);
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a constant-initialised cell
// and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's obligations, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's obligations, passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's obligations, passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn encoded<T: Portable>(value: &T) -> Vec<u8> {
    let mut memory = vec![0; 1 << 18];
    let mut out = Encoder::new(Outlet::new(&mut memory));
    value.encode(&mut out).unwrap();
    let len = out.len();
    memory.truncate(len);
    memory
}

/// What decoding `bytes` comes to: the error, and the heap it asked for, in sum and at its peak.
fn heap_of<T: Portable>(bytes: &[u8], budget_bytes: usize) -> (Option<DecodeErrorKind>, usize, usize) {
    HEAP.set(Heap { asked_bytes: 0, live_bytes: 0, peak_bytes: 0 });
    let mut input = Decoder::new(Source::stable(bytes), budget_bytes);
    let error = T::decode(&mut input).and_then(|_| input.finish()).err().map(|error| error.kind());
    let heap = HEAP.get();
    (error, heap.asked_bytes, heap.peak_bytes as usize)
}

/// The budget holds for every budget, and the least budget that is enough is within `slack` times what was asked for.
fn stays_within<T: Portable>(value: &T, slack: usize) {
    let bytes = encoded(value);
    let (error, asked, _) = heap_of::<T>(&bytes, usize::MAX);
    assert_eq!(error, None);
    let enough = asked * slack;
    let mut budget = 0;
    while budget <= enough {
        let (error, asked, _) = heap_of::<T>(&bytes, budget);
        assert!(asked <= budget, "asked for {asked} of {budget} bytes");
        assert!(matches!(error, None | Some(DecodeErrorKind::BudgetExceeded)));
        budget += enough / 97 + 1;
    }
    assert_eq!(heap_of::<T>(&bytes, enough).0, None, "{enough} bytes are enough");
}

#[test]
fn every_collection_claims_before_it_allocates() {
    stays_within(&vec![vec![1_u64, 2, 3], vec![4; 100]], 1);
    stays_within(&vec![String::from("abc"); 50], 1);
    stays_within(&vec![Some(Box::new([7_u32; 16])), None], 1);
    stays_within(&VecDeque::from([1_u16, 2, 3]), 1);
    stays_within(&vec![Box::<str>::from("a"), Box::from("")], 1);
    stays_within(&[CString::from(c"some text"), CString::from(c"")], 1);
    for count in [1_usize, 2, 3, 4, 7, 8, 14, 15, 16, 28, 29, 60, 1000, 5000] {
        let ascending = || 0..count as u32;
        stays_within(&ascending().map(|n| n as u8).collect::<HashSet<_>>(), 4);
        stays_within(&ascending().map(|n| (n, u64::from(n))).collect::<HashMap<_, _>>(), 4);
        stays_within(&ascending().map(|n| (n, [n; 9])).collect::<BTreeMap<_, _>>(), 4);
        stays_within(&ascending().collect::<BTreeSet<_>>(), 4);
    }
}

#[test]
fn small_messages_cannot_become_large_values() {
    let nones = encoded(&vec![0_u8; 1000]);
    type Wide = Vec<Option<[u64; 1000]>>;
    let (error, asked, _) = heap_of::<Wide>(&nones, 1 << 20);
    assert_eq!((error, asked), (Some(DecodeErrorKind::BudgetExceeded), 0));
    let (error, asked, _) = heap_of::<Wide>(&nones, 9 << 20);
    assert_eq!(error, None);
    assert_eq!(asked, 1000 * size_of::<Option<[u64; 1000]>>());
    let (error, asked, _) = heap_of::<Vec<Box<Option<[u64; 1000]>>>>(&nones, 1 << 20);
    assert_eq!(error, Some(DecodeErrorKind::BudgetExceeded));
    assert!(asked <= 1 << 20 && asked > 1 << 19, "{asked}");
}

#[test]
fn a_count_beyond_the_message_allocates_nothing() {
    for count in [10_u64, 1 << 40, 1 << 62, u64::MAX] {
        let bytes = [&count.to_le_bytes()[..], &[0; 9]].concat();
        assert_eq!(heap_of::<Vec<u8>>(&bytes, usize::MAX).1, 0);
        assert_eq!(heap_of::<Vec<String>>(&bytes, usize::MAX).1, 0);
        assert_eq!(heap_of::<HashMap<u32, u8>>(&bytes, usize::MAX).1, 0);
    }
}

#[test]
fn refusing_costs_no_heap() {
    assert_eq!(heap_of::<bool>(&[7], 0), (Some(DecodeErrorKind::InvalidBool), 0, 0));
    assert_eq!(heap_of::<Option<u8>>(&[7], 0), (Some(DecodeErrorKind::InvalidDiscriminant), 0, 0));
}

#[cfg(feature = "serde")]
mod serde {
    use std::collections::LinkedList;
    use std::rc::Rc;

    use ::serde::de::{Deserialize, DeserializeOwned, Deserializer};
    use ::serde::{Deserialize as _Deserialize, Serialize};
    use ringfence_core::codec::Serde;

    use super::*;

    /// Room for the text of ciborium's own error messages, which are not part of any value.
    const ERROR_BYTES: usize = 256;

    fn peak_stays_within<T: Serialize + DeserializeOwned>(value: T, slack: usize) {
        let bytes = encoded(&Serde(value));
        let (error, _, peak) = heap_of::<Serde<T>>(&bytes, usize::MAX);
        assert_eq!(error, None);
        // Whether a sequence has ended is only known once room for one more element has been charged.
        let enough = peak * slack + 4096;
        let mut budget = 0;
        while budget <= enough {
            let (error, _, peak) = heap_of::<Serde<T>>(&bytes, budget);
            assert!(peak <= budget + ERROR_BYTES, "{peak} of {budget} bytes");
            assert!(matches!(error, None | Some(DecodeErrorKind::BudgetExceeded)), "{error:?}");
            budget += enough / 97 + 1;
        }
        assert_eq!(heap_of::<Serde<T>>(&bytes, enough).0, None, "{enough} bytes are enough");
    }

    #[derive(Serialize, _Deserialize, Clone)]
    struct Item {
        name: String,
        part: Option<Box<[u64; 16]>>,
        list: Vec<u8>,
    }

    /// A shared pointer, as serde's own feature `rc` makes them.
    #[derive(Clone)]
    struct Shared(Rc<u8>);

    impl Serialize for Shared {
        fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.as_ref().serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Shared {
        fn deserialize<D: Deserializer<'de>>(inner: D) -> Result<Self, D::Error> {
            u8::deserialize(inner).map(Rc::new).map(Self)
        }
    }

    #[test]
    fn what_serde_allocates_is_claimed() {
        for count in [0_u32, 1, 2, 4, 5, 11, 12, 15, 16, 100, 1000] {
            let ascending = || 0..count;
            peak_stays_within(ascending().collect::<Vec<_>>(), 30);
            peak_stays_within(ascending().map(|n| n as u8 % 20).collect::<LinkedList<_>>(), 30);
            peak_stays_within(ascending().map(|n| n as u8).collect::<HashSet<_>>(), 30);
            peak_stays_within(ascending().collect::<BTreeSet<_>>(), 30);
            peak_stays_within(ascending().map(|n| (n, n.to_string())).collect::<BTreeMap<_, _>>(), 30);
            peak_stays_within(ascending().map(|n| (n as u16, [n; 4])).collect::<HashMap<_, _>>(), 30);
            peak_stays_within("é".repeat(count as usize * 10), 30);
            peak_stays_within(vec![None::<[u64; 32]>; count as usize], 30);
            let item = Item { name: "n".into(), part: Some(Box::new([1; 16])), list: vec![1, 2] };
            peak_stays_within(vec![item; count as usize], 30);
            peak_stays_within(vec![Shared(Rc::new(1)); count as usize], 30);
        }
    }

    fn message(cbor: &[u8]) -> Vec<u8> {
        [&(cbor.len() as u64).to_le_bytes()[..], cbor].concat()
    }

    #[test]
    fn small_messages_cannot_become_large_values() {
        let nulls = message(&[&[0x99, 0xFF, 0xFF][..], &[0xF6; 0xFFFF]].concat());
        const BUDGET_BYTES: usize = 1 << 20;
        let (error, _, peak) = heap_of::<Serde<Vec<Option<[u64; 32]>>>>(&nulls, BUDGET_BYTES);
        assert_eq!(error, Some(DecodeErrorKind::BudgetExceeded));
        assert!(peak <= BUDGET_BYTES + ERROR_BYTES, "{peak}");
        let (error, _, peak) = heap_of::<Serde<Vec<Box<Option<[u64; 32]>>>>>(&nulls, BUDGET_BYTES);
        assert_eq!(error, Some(DecodeErrorKind::BudgetExceeded));
        assert!(peak <= BUDGET_BYTES + ERROR_BYTES, "{peak}");
    }

    #[test]
    fn declared_lengths_reserve_nothing() {
        let declared = [[0x9B_u8].as_slice(), &(1_u64 << 40).to_be_bytes()].concat();
        let nested = message(&declared.repeat(30));
        type Nested = Vec<Vec<Vec<Vec<Vec<Vec<Vec<u64>>>>>>>;
        let (error, _, peak) = heap_of::<Serde<Nested>>(&nested, 1 << 20);
        assert!(error.is_some());
        assert!(peak < 4096, "{peak}");
    }
}
