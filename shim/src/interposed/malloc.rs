//! The `malloc` family: a domain's heap inside, glibc's own functions in the host.
//!
//! # Cost
//! In the host `malloc` and `free` are five instructions more each: four, and a jump to glibc's own. Inside, a `malloc` and a `free` of
//! 64 bytes are about 170 instructions together, of which 60 check tags and keep the books; glibc's fastest way is 130. (Release build,
//! counted with callgrind.)
//!
//! # Safety
//! In the host every call goes on as it came. Inside, the heap is the one that the routing variable holds, which belongs to the running
//! thread; the callers' promises are those of the C standard.
#![expect(unsafe_code, reason = "exported C symbols")]

use std::ffi::{c_int, c_void};

use super::{domain, host};
use crate::route::current;

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
    fn __libc_memalign(align: usize, bytes: usize) -> *mut c_void;
    fn __libc_valloc(bytes: usize) -> *mut c_void;
    fn __libc_pvalloc(bytes: usize) -> *mut c_void;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: any size may be asked for.
        None => unsafe { __libc_malloc(bytes) },
        // SAFETY: the running domain's heap; so below.
        Some(heap) => unsafe { domain::malloc(bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: any size may be asked for.
        None => unsafe { __libc_calloc(count, bytes) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::calloc(count, bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: the caller's promise; so below.
        None => unsafe { __libc_realloc(memory, bytes) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::realloc(memory, bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(memory: *mut c_void, count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        // SAFETY: the caller's promise.
        Some(bytes) => unsafe { realloc(memory, bytes) },
        None => domain::fail(libc::ENOMEM),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(memory: *mut c_void) {
    match current() {
        // SAFETY: the caller's promise.
        None => unsafe { __libc_free(memory) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::free(memory, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: any size may be asked for.
        None => unsafe { __libc_memalign(align, bytes) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::memalign(align, bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    if let Some(heap) = current() {
        // SAFETY: as in `malloc`.
        return unsafe { domain::aligned_alloc(align, bytes, heap) };
    }
    match host::ALIGNED_ALLOC.get() {
        // SAFETY: any size may be asked for.
        Some(real) => unsafe { real(align, bytes) },
        None => domain::fail(libc::ENOMEM),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, bytes: usize) -> c_int {
    if let Some(heap) = current() {
        // SAFETY: as in `malloc`; the caller says where the result may be written.
        return unsafe { domain::posix_memalign(out, align, bytes, heap) };
    }
    match host::POSIX_MEMALIGN.get() {
        // SAFETY: the caller's promise.
        Some(real) => unsafe { real(out, align, bytes) },
        None => libc::ENOMEM,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn valloc(bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: any size may be asked for.
        None => unsafe { __libc_valloc(bytes) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::valloc(bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    match current() {
        // SAFETY: any size may be asked for.
        None => unsafe { __libc_pvalloc(bytes) },
        // SAFETY: as in `malloc`.
        Some(heap) => unsafe { domain::pvalloc(bytes, heap) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(memory: *mut c_void) -> usize {
    if let Some(heap) = current() {
        // SAFETY: as in `malloc`.
        return unsafe { domain::usable_bytes(memory, heap) };
    }
    // SAFETY: the caller's promise.
    host::MALLOC_USABLE_SIZE.get().map_or(0, |real| unsafe { real(memory) })
}
