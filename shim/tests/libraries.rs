//! What shared libraries allocate comes to the interposed symbols, and in the host those are glibc's own.
//!
//! # Safety
//! The C functions are called as their headers say; what they allocate inside is given back inside.
#![cfg(all(feature = "interpose", target_env = "gnu"))]
#![expect(unsafe_code, reason = "calls to shared libraries")]

mod support;

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use support::{__libc_malloc, Domain, check, malloc};

const FAMILY: [&CStr; 11] = [
    c"malloc",
    c"calloc",
    c"realloc",
    c"reallocarray",
    c"free",
    c"posix_memalign",
    c"aligned_alloc",
    c"memalign",
    c"valloc",
    c"pvalloc",
    c"malloc_usable_size",
];

const ENDS: [&CStr; 10] = [
    c"abort",
    c"exit",
    c"_exit",
    c"_Exit",
    c"quick_exit",
    c"__stack_chk_fail",
    c"__chk_fail",
    c"__assert_fail",
    c"raise",
    c"__cxa_thread_atexit_impl",
];

fn find(library: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a C string, and a handle that is valid or a constant.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is nowhere");
    address
}

/// The base address of the object that an address lies in.
fn object(address: *const c_void) -> *mut c_void {
    let mut found = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: writes to a local variable.
    assert_ne!(unsafe { libc::dladdr(address, &raw mut found) }, 0);
    found.dli_fbase
}

#[test]
fn a_library_that_looks_for_a_symbol_finds_the_programs() {
    let program = object(find as *const c_void);
    for name in FAMILY.into_iter().chain(ENDS) {
        assert_eq!(object(find(libc::RTLD_DEFAULT, name)), program, "{name:?}");
    }
}

#[test]
fn what_libc_allocates_for_its_caller_comes_from_the_domain() {
    let domain = Domain::new(1 << 20);
    let copy = domain.within(|| {
        // SAFETY: a C string.
        unsafe { libc::strdup(c"some text".as_ptr()) }
    });
    assert!(domain.holds(copy));
    // SAFETY: `strdup` made a C string.
    assert_eq!(unsafe { CStr::from_ptr(copy) }, c"some text");
    // SAFETY: allocated inside, and not used after.
    domain.within(|| unsafe { libc::free(copy.cast()) });
}

#[test]
fn libc_streams_live_in_the_domain() {
    let domain = Domain::new(1 << 20);
    let mut buffer: *mut c_char = ptr::null_mut();
    let mut bytes = 0;
    let mut line: *mut c_char = ptr::null_mut();
    let mut line_bytes = 0;
    let (stream, length) = domain.within(|| {
        // SAFETY: both variables live longer than the stream.
        let stream = unsafe { libc::open_memstream(&raw mut buffer, &raw mut bytes) };
        for _ in 0..1000 {
            // SAFETY: a C string and an open stream.
            unsafe { libc::fputs(c"the first line\n".as_ptr(), stream) };
        }
        // SAFETY: an open stream, not used after.
        unsafe { libc::fclose(stream) };
        // SAFETY: as many bytes as the stream held, which outlive this one.
        let reader = unsafe { libc::fmemopen(buffer.cast(), bytes, c"r".as_ptr()) };
        // SAFETY: an open stream; the buffer is null and is allocated.
        let length = unsafe { libc::getline(&raw mut line, &raw mut line_bytes, reader) };
        // SAFETY: an open stream, not used after.
        unsafe { libc::fclose(reader) };
        (stream, length)
    });
    assert_eq!((bytes, length), (15_000, 15));
    assert!(domain.holds(stream) && domain.holds(buffer) && domain.holds(line));
}

#[test]
fn operator_new_of_a_library_comes_from_the_domain() {
    // SAFETY: libstdc++ has constructors that may run anywhere.
    let library = unsafe { libc::dlopen(c"libstdc++.so.6".as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "libstdc++ is missing");
    let new = find(library, c"_Znwm");
    let delete = find(library, c"_ZdlPv");
    // SAFETY: `operator new(size_t)`.
    let new = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(usize) -> *mut c_void>(new) };
    // SAFETY: `operator delete(void*)`.
    let delete = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_void)>(delete) };
    let domain = Domain::new(1 << 20);
    let inside = domain.within(|| new(1000));
    let outside = new(1000);
    assert!(domain.holds(inside) && !domain.holds(outside));
    domain.within(|| delete(inside));
    delete(outside);
}

#[test]
fn rust_allocates_in_the_domain_through_the_default_allocator() {
    let domain = Domain::new(1 << 20);
    domain.within(|| {
        let mut numbers: Vec<u64> = (0..1000).collect();
        numbers.extend(0..10_000);
        check!(domain.holds(numbers.as_ptr()));
        #[repr(align(256))]
        struct Wide(#[expect(dead_code, reason = "for its size")] [u8; 1000]);
        let wide = Box::new(Wide([1; 1000]));
        check!(domain.holds(&raw const *wide) && (&raw const *wide).addr().is_multiple_of(256));
        check!(domain.holds(format!("{numbers:?}").as_ptr()));
    });
    assert_eq!(domain.refusals(), 0);
}

#[test]
fn the_hosts_memory_is_glibcs_own() {
    let domain = Domain::new(1 << 20);
    let ours = malloc(48);
    assert!(!domain.holds(ours));
    // SAFETY: live, and not used after.
    unsafe { libc::free(ours) };
    // glibc's cache of small chunks is last in, first out, and it is one for both names.
    let glibcs = __libc_malloc(48);
    assert_eq!(glibcs, ours);
    // SAFETY: live, and not used after.
    unsafe { libc::free(glibcs) };
}
