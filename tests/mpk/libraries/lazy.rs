//! Functions of the C library that call other functions of it through its own table, which the loader fills at the first call: from
//! inside, where that table cannot be written.
//!
//! # Safety
//! C strings and live buffers go in; what the C library allocates is freed once.
#![expect(unsafe_code, reason = "calls the C library")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use libtest_mimic::Trial;
use ringfence::Sandbox;
use ringfence_testkit::alone::alone;

const NAME: &str = "libraries::c_library_calls_itself";

/// In a process where nobody has called them before.
pub(super) fn trial() -> Trial {
    Trial::test(NAME, || {
        alone(NAME, all);
        Ok(())
    })
}

fn all() {
    let sandbox = Sandbox::mpk().unwrap();
    macro_rules! check {
        ($($function:ident)+) => {$(
            let name = stringify!($function);
            for (way, result) in [("call", sandbox.call(|()| $function(), ())), ("run", sandbox.run($function))] {
                assert!(matches!(result, Ok(true)), "{name} by {way}: {result:?}");
            }
        )+};
    }
    check!(copy_a_string print_into_memory match_a_pattern fill_a_hash_table grow);
    // It asks for the size of memory once, and keeps the answer in a static.
    assert!(sort());
    check!(sort);
}

/// `strdup` calls `malloc`.
fn copy_a_string() -> bool {
    // SAFETY: a C string.
    let copy = unsafe { libc::strdup(c"text".as_ptr()) };
    if copy.is_null() {
        return false;
    }
    // SAFETY: a C string that was just made.
    let is_equal = unsafe { CStr::from_ptr(copy) } == c"text";
    // SAFETY: from `malloc`, and not used after this.
    unsafe { libc::free(copy.cast()) };
    is_equal
}

unsafe extern "C" {
    fn asprintf(text: *mut *mut c_char, format: *const c_char, ...) -> c_int;
}

/// `asprintf` calls `malloc`, `realloc` and `free`.
fn print_into_memory() -> bool {
    let mut text = ptr::null_mut();
    // SAFETY: the format takes one string and one number, which follow.
    let bytes = unsafe { asprintf(&raw mut text, c"%200s %d".as_ptr(), c"text".as_ptr(), 7) };
    // SAFETY: from `malloc`, and not used after this.
    unsafe { libc::free(text.cast()) };
    bytes == 202
}

/// `regcomp` and `regexec` call `malloc`, `calloc` and `realloc`.
fn match_a_pattern() -> bool {
    let mut pattern = MaybeUninit::<libc::regex_t>::uninit();
    let flags = libc::REG_EXTENDED | libc::REG_ICASE;
    let text = c"^([a-z]+|[0-9]{2,5})*(x|y)+$".as_ptr();
    // SAFETY: room for a pattern, and a C string.
    if unsafe { libc::regcomp(pattern.as_mut_ptr(), text, flags) } != 0 {
        return false;
    }
    // SAFETY: the pattern has been made; a C string; no matches are asked for.
    let found = unsafe { libc::regexec(pattern.as_ptr(), c"abc123defxyx".as_ptr(), 0, ptr::null_mut(), 0) };
    // SAFETY: the pattern has been made, and is not used after this.
    unsafe { libc::regfree(pattern.as_mut_ptr()) };
    found == 0
}

extern "C" fn compare(one: *const c_void, other: *const c_void) -> c_int {
    // SAFETY: `qsort` gives addresses of elements.
    let one = unsafe { one.cast::<u32>().read() };
    // SAFETY: as above.
    let other = unsafe { other.cast::<u32>().read() };
    one.cmp(&other) as c_int
}

fn sort() -> bool {
    let mut numbers: Vec<u32> = (0..5000_u32).map(|number| number.wrapping_mul(2_654_435_761)).collect();
    // SAFETY: so many elements of that size, and a function that compares them.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<u32>(), Some(compare)) };
    numbers.is_sorted()
}

/// `struct hsearch_data` of `search.h`.
#[repr(C)]
struct Table {
    entries: *mut c_void,
    size: u32,
    filled: u32,
}

unsafe extern "C" {
    fn hcreate_r(elements: usize, table: *mut Table) -> c_int;
    fn hdestroy_r(table: *mut Table);
}

/// `hcreate_r` calls `calloc`.
fn fill_a_hash_table() -> bool {
    let mut table = Table { entries: ptr::null_mut(), size: 0, filled: 0 };
    // SAFETY: the table is zero, as the function wants it.
    let made = unsafe { hcreate_r(1000, &raw mut table) };
    // SAFETY: the table has been made, or is zero still.
    unsafe { hdestroy_r(&raw mut table) };
    made != 0
}

/// `argz_add` calls `realloc`.
fn grow() -> bool {
    unsafe extern "C" {
        fn argz_add(vector: *mut *mut c_char, bytes: *mut usize, text: *const c_char) -> c_int;
    }
    let (mut vector, mut bytes) = (ptr::null_mut(), 0);
    for _ in 0..50 {
        // SAFETY: an empty vector or one that the function made, and a C string.
        if unsafe { argz_add(&raw mut vector, &raw mut bytes, c"text".as_ptr()) } != 0 {
            return false;
        }
    }
    // SAFETY: from `malloc`, and not used after this.
    unsafe { libc::free(vector.cast()) };
    bytes == 50 * 5
}
