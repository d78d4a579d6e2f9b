//! A program with a global allocator of its own, in the wrapper.
//!
//! # Safety
//! The inner allocator passes everything on.
#![expect(unsafe_code, reason = "a global allocator")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ringfence_shim::{Routed, Routing, inside, routing};
use support::{Domain, check};

/// Counts what is asked of the host, and that none of it was asked inside.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, which has its calls counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        assert!(!inside());
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        assert!(!inside());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Routed<Counting> = Routed(Counting);

#[test]
fn the_trial_finds_the_wrapper() {
    assert_eq!(routing(), Routing { c: cfg!(all(feature = "interpose", target_env = "gnu")), rust: true });
}

#[test]
fn the_hosts_allocations_go_to_the_inner_allocator() {
    let before = CALLS.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![1_u8; 100]));
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert!(CALLS.load(Ordering::Relaxed) >= before + 2);
}

#[test]
fn the_domains_allocations_of_every_kind_come_from_its_heap() {
    #[derive(Clone, Copy)]
    #[repr(align(128))]
    struct Wide([u8; 128]);

    let domain = Domain::new(1 << 20);
    domain.within(|| {
        let mut bytes = vec![1_u8; 100];
        bytes.resize(10_000, 2);
        check!(domain.holds(bytes.as_ptr()));
        bytes.truncate(50);
        bytes.shrink_to_fit();
        check!(bytes == [1; 50]);
        bytes.fill(0xff);
        drop(bytes);
        let zeros = std::hint::black_box(vec![0_u8; 20_000]);
        check!(domain.holds(zeros.as_ptr()) && zeros.iter().all(|byte| *byte == 0));

        for _ in 0..8 {
            let mut wide = vec![Wide([3; 128]); 2];
            // In the way of growing where it lies.
            let blocker = std::hint::black_box(Box::new([0_u8; 40]));
            wide.resize(20, Wide([4; 128]));
            check!(domain.holds(wide.as_ptr()) && wide.as_ptr().addr().is_multiple_of(128));
            check!(wide.iter().take(2).all(|wide| wide.0 == [3; 128]));
            check!(wide.iter().skip(2).all(|wide| wide.0 == [4; 128]));
            std::mem::forget((wide, blocker));
        }

        let layout = Layout::from_size_align(5000, 512).unwrap();
        // SAFETY: the layout is not empty; so below.
        let used = std::hint::black_box(unsafe { std::alloc::alloc(layout) });
        // SAFETY: as many bytes as were just allocated.
        unsafe { used.write_bytes(0xff, 5000) };
        // SAFETY: live, and not used after.
        unsafe { std::alloc::dealloc(std::hint::black_box(used), layout) };
        // SAFETY: as above.
        let zeros = unsafe { std::alloc::alloc_zeroed(layout) };
        check!(domain.holds(zeros) && zeros.addr().is_multiple_of(512));
        // SAFETY: as many bytes as were just allocated.
        let content = unsafe { std::slice::from_raw_parts(zeros, 5000) };
        check!(content.iter().all(|byte| *byte == 0));
        // SAFETY: live, and not used after.
        unsafe { std::alloc::dealloc(zeros, layout) };
    });
    assert_eq!(domain.refusals(), 0);
}
