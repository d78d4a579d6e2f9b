//! The thread-local pointer that says where allocations go.
//!
//! # Safety
//! The variable is a zeroed eight-byte slot that only this file names. It is read and written at its place relative to the thread
//! pointer, which every thread has; what it points to is up to whoever set it.
#![expect(unsafe_code, reason = "a thread-local variable defined and read in assembly")]

use std::arch::{asm, global_asm};
use std::ptr::{self, NonNull};

use crate::heap::DomainHeap;

// `thread_local!` reaches a variable of a library through `__tls_get_addr`, which the linker turns into something shorter but not
// short, with the stack aligned for a call that is no longer there. The initial-exec model is two loads.
global_asm!(
    ".pushsection .tbss.ringfence_shim_route,\"awT\",@nobits",
    ".p2align 3",
    ".globl ringfence_shim_route",
    ".hidden ringfence_shim_route",
    ".type ringfence_shim_route,@object",
    ".size ringfence_shim_route, 8",
    "ringfence_shim_route: .zero 8",
    ".popsection",
);

/// Where the routing variable lies, in bytes from the thread pointer (the FS base).
///
/// It is the same in all threads, for as long as the program runs: the variable is accessed in the initial-exec model, so it is part of
/// the static TLS block, whose layout the dynamic linker fixes when it loads the object and repeats for every thread ("ELF Handling For
/// Thread-Local Storage", sections 3.4.6 and 4.3.6). An object that is loaded when no room is left there fails to load.
///
/// A domain's TLS block holds the address of its [`DomainHeap`] at its own thread pointer plus this.
#[must_use]
pub fn route_offset() -> isize {
    let offset;
    // SAFETY: loads a word of the global offset table, or a constant that the linker puts in its stead.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + ringfence_shim_route@GOTTPOFF]",
            offset = out(reg) offset,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    offset
}

/// Whether the calling code runs where allocations go to a domain's heap.
#[must_use]
pub fn inside() -> bool {
    current().is_some()
}

/// The heap that allocations of the calling code go to; `None` is the C library's.
#[inline(always)]
pub(crate) fn current() -> Option<NonNull<DomainHeap>> {
    let heap: *mut DomainHeap;
    // SAFETY: both loads are of mapped memory: the offset as above, and the variable, which lies that far from the thread pointer.
    unsafe {
        asm!(
            "mov {heap}, qword ptr [rip + ringfence_shim_route@GOTTPOFF]",
            "mov {heap}, qword ptr fs:[{heap}]",
            heap = out(reg) heap,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    NonNull::new(heap)
}

/// Routes the calling thread, and returns where it was routed before.
///
/// # Safety
/// A heap that is set must be one of [`DomainHeap::init`], stay mapped until another route is set, and be used by no other thread
/// meanwhile. Memory allocated under one route must not be freed under another.
#[doc(hidden)]
pub unsafe fn set_route(heap: Option<NonNull<DomainHeap>>) -> Option<NonNull<DomainHeap>> {
    let before = current();
    let heap = heap.map_or(ptr::null_mut(), NonNull::as_ptr);
    // SAFETY: stores to the calling thread's own variable, through its offset from the thread pointer.
    unsafe {
        asm!(
            "mov qword ptr fs:[{offset}], {heap}",
            offset = in(reg) route_offset(),
            heap = in(reg) heap,
            options(nostack, preserves_flags),
        );
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread_pointer() -> usize {
        let pointer;
        // SAFETY: the x86-64 ABI keeps the thread pointer at its own address.
        unsafe { asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(pure, readonly, nostack)) };
        pointer
    }

    #[test]
    fn the_variable_is_null_and_lies_in_the_static_block_of_every_thread() {
        let look = || {
            let address = thread_pointer().wrapping_add_signed(route_offset());
            // SAFETY: the variable's place in this thread's static TLS block.
            let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read() };
            (route_offset(), word, inside())
        };
        let here = look();
        assert!(here.0 < 0 && here.0 % 8 == 0, "static TLS lies below the thread pointer");
        assert_eq!((here.1, here.2), (0, false));
        let there = std::thread::spawn(look).join().unwrap();
        assert_eq!(here, there);
    }

    #[test]
    fn what_is_set_is_what_lies_at_the_offset() {
        let heap = NonNull::dangling();
        let address = thread_pointer().wrapping_add_signed(route_offset());
        // SAFETY: nothing is allocated or freed until the route is null again.
        let before = unsafe { set_route(Some(heap)) };
        // SAFETY: the variable's place in this thread's static TLS block.
        let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read_volatile() };
        let set = inside();
        // SAFETY: the route that was.
        let after = unsafe { set_route(before) };
        assert_eq!(before, None);
        assert_eq!((word, set, after), (heap.addr().get(), true, Some(heap)));
        assert!(!inside());
    }
}
