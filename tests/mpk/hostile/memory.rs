//! Stores to memory that is not the domain's.
//!
//! # Safety
//! Finds addresses of the host's own memory; changes the protection of constants in forked children only.
#![expect(unsafe_code, reason = "reads bytes by their address, and mprotect in a child")]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::{panic, thread};

use libtest_mimic::Trial;
use ringfence::{Fault, FaultKind, Sandbox};
use ringfence_core::fault::Access;
use ringfence_testkit::child::{self, End};

use super::support::{
    Page, assert_works, beside, control_block, defended, fault, mappings, signal_stack, store_byte, trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_overwrites_the_callers_frame
        inside_overwrites_the_heap
        inside_overwrites_a_page
        inside_overwrites_a_global
        inside_overwrites_a_constant_with_addresses
        inside_overwrites_code
        inside_overwrites_thread_local_storage
        inside_overwrites_another_threads_stack
        inside_overwrites_its_threads_control_block
        inside_overwrites_its_threads_handler_stack
        inside_overwrites_its_threads_signal_stack
        inside_overwrites_another_threads_signal_stack
        inside_overwrites_the_kernels_data_page
        inside_overwrites_another_domain
        inside_reads_another_domain
    }
}

/// How a store from inside to this address ends: by the processor, with nothing changed and nothing lost.
#[track_caller]
fn refused(sandbox: &Sandbox, address: u64) -> Fault {
    let before = byte_at(address);
    let fault = fault(sandbox.call(store_byte, address));
    assert_eq!((fault.address(), byte_at(address)), (Some(address), before));
    assert_eq!(fault.access(), Some(Access::Write));
    assert_works(sandbox);
    fault
}

#[track_caller]
fn refused_by_key(sandbox: &Sandbox, address: u64) {
    let fault = refused(sandbox, address);
    assert_eq!((fault.kind(), fault.key()), (&FaultKind::KeyViolation, Some(0)));
}

fn byte_at(address: u64) -> u8 {
    // SAFETY: every caller names mapped, readable memory.
    unsafe { (address as *const u8).read_volatile() }
}

/// Whether the same code changes the byte where no gate has taken the right away.
#[track_caller]
fn assert_possible(address: u64) {
    let control = child::run(|| i32::from(store_byte(address) != 0xa5)).unwrap();
    assert_eq!(control.end, End::Exit(0), "the control");
}

#[track_caller]
fn attack(address: u64) {
    assert_possible(address);
    refused_by_key(&defended(), address);
}

fn address_of<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).addr() as u64
}

fn inside_overwrites_the_callers_frame() {
    let local = Cell::new(7_u64);
    attack(address_of(&local));
    let sandbox = defended();
    let stored = fault(sandbox.run(|| local.set(8)));
    assert_eq!((stored.kind(), stored.address()), (&FaultKind::KeyViolation, Some(address_of(&local))));
    assert_eq!(local.get(), 7);
}

fn inside_overwrites_the_heap() {
    let heap: Box<[u64]> = vec![7; 100].into();
    for word in [&heap[0], &heap[99]] {
        attack(address_of(word));
    }
    // The allocator's own word before the block.
    attack(address_of(&heap[0]) - 8);
}

fn inside_overwrites_a_page() {
    let page = Page::new();
    for offset in [0, Page::BYTES / 2, Page::BYTES - 1] {
        attack(page.address + offset);
    }
    assert!(page.is_untouched());
}

fn inside_overwrites_a_global() {
    static WORD: AtomicU64 = AtomicU64::new(7);
    attack(address_of(&WORD));
    assert_eq!(WORD.load(Ordering::Relaxed), 7);
}

fn inside_overwrites_a_constant_with_addresses() {
    // In .data.rel.ro, as are virtual tables and the GOT.
    static TABLE: [fn(u64) -> u8; 2] = [store_byte, byte_at];
    let address = address_of(&TABLE);
    let open = |address: u64| {
        let page = (address & !4095) as *mut libc::c_void;
        // SAFETY: in the child, whose constants nobody relies on.
        unsafe { libc::mprotect(page, 8192, libc::PROT_READ | libc::PROT_WRITE) }
    };
    let control = child::run(|| i32::from(open(address) != 0 || store_byte(address) != 0xa5)).unwrap();
    assert_eq!(control.end, End::Exit(0), "the control");
    let fault = refused(&defended(), address);
    assert_eq!(fault.signal(), Some(libc::SIGSEGV));
}

fn inside_overwrites_code() {
    let address = assert_works as fn(&Sandbox) as usize as u64;
    assert_eq!(refused(&defended(), address).signal(), Some(libc::SIGSEGV));
    let control = child::run(|| i32::from(store_byte(address))).unwrap();
    assert_eq!(control.end, End::Signal(libc::SIGSEGV), "nor can anybody else without the kernel's help");
}

fn inside_overwrites_thread_local_storage() {
    thread_local!(static WORD: Cell<u64> = const { Cell::new(7) });
    attack(WORD.with(address_of));
    // SAFETY: the place of the calling thread's error number.
    attack(unsafe { libc::__errno_location() }.addr() as u64);
    assert_eq!(WORD.get(), 7);
}

fn inside_overwrites_another_threads_stack() {
    let done = Barrier::new(2);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let local = Cell::new(7_u64);
            sender.send(address_of(&local)).unwrap();
            done.wait();
            assert_eq!(local.get(), 7);
        });
        let address = receiver.recv().unwrap();
        let attacked = panic::catch_unwind(|| attack(address));
        done.wait();
        attacked.unwrap();
    });
}

fn inside_overwrites_its_threads_control_block() {
    let sandbox = defended();
    assert_works(&sandbox);
    let block = control_block();
    // Among them the top of the handlers' stack, and what the kernel looks at on every system call.
    for address in [block + 64, block + 120, block + 4095] {
        assert_possible(address);
        refused_by_key(&sandbox, address);
    }
}

fn inside_overwrites_its_threads_handler_stack() {
    let sandbox = defended();
    assert_works(&sandbox);
    for offset in [44 << 10, 80 << 10, (108 << 10) - 1] {
        assert_possible(control_block() + offset);
        refused_by_key(&sandbox, control_block() + offset);
    }
}

/// Kernels before 6.12 write a signal frame with the rights of the code they interrupt: the stack carries the domain's key there.
fn frames_are_open() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release.split(['.', '-']).take(2).map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1]) >= (6, 12)
}

fn inside_overwrites_its_threads_signal_stack() {
    let sandbox = defended();
    assert_works(&sandbox);
    let address = signal_stack() + 64;
    if frames_are_open() {
        assert_possible(address);
        refused_by_key(&sandbox, address);
    } else {
        assert_eq!(sandbox.call(store_byte, address).unwrap(), 0xa5, "not kept from this kernel's domains");
        assert_works(&sandbox);
    }
}

fn inside_overwrites_another_threads_signal_stack() {
    let sandbox = defended();
    let enter = || {
        // The same domain: there is but one.
        assert_works(&sandbox);
        signal_stack() + 64
    };
    beside(enter, |address| {
        assert_possible(address);
        refused_by_key(&sandbox, address);
    });
}

fn inside_overwrites_the_kernels_data_page() {
    let maps = mappings();
    let line = maps.iter().find(|line| line.ends_with("[vvar]")).unwrap();
    let address = u64::from_str_radix(line.split_once('-').unwrap().0, 16).unwrap();
    let fault = refused(&defended(), address);
    assert_eq!(fault.signal(), Some(libc::SIGSEGV));
    let control = child::run(|| i32::from(store_byte(address))).unwrap();
    assert_eq!(control.end, End::Signal(libc::SIGSEGV), "nor can anybody else");
}

/// The address of something in a domain, which stays.
fn of_the_heap((): ()) -> u64 {
    address_of(Box::leak(Box::new(7_u64)))
}

fn reaches_another_domain<F: Fn(u64) -> u8 + Copy + 'static>(reach: F) {
    let (one, other) = (defended(), defended());
    let mut session = other.session().unwrap();
    let address = session.call(of_the_heap, ()).unwrap();
    assert_eq!(session.call::<F, u64, u8>(reach, address).unwrap(), 0xa5, "the control: from its own inside");
    let refused = fault(one.call::<F, u64, u8>(reach, address));
    assert_eq!((refused.signal(), refused.address()), (Some(libc::SIGSEGV), Some(address)));
    // Where the other one has lost its key to a third, nobody may touch its memory.
    assert!(
        refused.key().is_none_or(|key| key > 0 && refused.kind() == &FaultKind::KeyViolation),
        "{refused}"
    );
    assert_eq!(session.call(|()| 7_u64, ()).unwrap(), 7);
    assert_works(&one);
}

fn inside_overwrites_another_domain() {
    reaches_another_domain(store_byte);
}

fn inside_reads_another_domain() {
    reaches_another_domain(|address| {
        std::hint::black_box(byte_at(address));
        0xa5
    });
}
