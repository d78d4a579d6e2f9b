//! Code run on blocks in ordinary memory, without keys: FS is switched by hand, with every signal blocked.
//!
//! # Safety
//! While FS points at a copy, only the functions below run, on the thread's own stack, and none of them allocates, panics or
//! leaves by another way than it came.
#![expect(unsafe_code, reason = "FS is switched, and C functions are called on both sides")]

use std::arch::{asm, naked_asm};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_double, c_int, c_long, c_void};
use std::mem;
use std::process::Command;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::*;

/// Memory for one block, and the block.
struct Place {
    /// Where the image belongs.
    memory: Vec<u128>,
    image: Image,
}

fn place(template: &Template, random: [u8; 16]) -> Place {
    let mut memory = vec![u128::MAX; template.bytes().div_ceil(16) + 1];
    // An address that is aligned to 8 and to no more.
    let start = NonNull::new(memory.as_mut_ptr().cast::<u8>().wrapping_add(8)).unwrap();
    let image = template.image(start, template.bytes(), random).unwrap();
    Place { memory, image }
}

impl Place {
    fn restore(&self) {
        // SAFETY: the memory is this value's, and nothing runs on the block between the calls of `run`.
        unsafe { self.image.restore() };
    }

    /// What `visitor` sees on the block.
    fn run(&self, visitor: extern "C" fn(*mut Seen), seen: &mut Seen) {
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).unwrap();
        // SAFETY: the block was restored, `visitor` is one of the functions this file's docs speak of, and signals are blocked.
        unsafe { on_block(self.image.fs_base(), visitor, seen) };
        mask.thread_set_mask().unwrap();
    }
}

/// Calls `visitor` with another FS base. Needs FSGSBASE.
#[unsafe(naked)]
unsafe extern "C" fn on_block(fs_base: usize, visitor: extern "C" fn(*mut Seen), seen: *mut Seen) {
    naked_asm!(
        "push rbx",
        "rdfsbase rbx",
        "wrfsbase rdi",
        "mov rdi, rdx",
        "call rsi",
        "wrfsbase rbx",
        "pop rbx",
        "ret",
    )
}

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(7) };
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Seen {
    errno: c_int,
    count: usize,
    number: c_double,
    letter: c_int,
    thread: usize,
    canary: usize,
    guard: usize,
    cpu: c_int,
    resolver: usize,
}

unsafe extern "C" {
    fn strtod(text: *const c_char, end: *mut *mut c_char) -> c_double;
    fn isalpha(character: c_int) -> c_int;
    fn __res_state() -> *mut c_void;
    fn __tls_get_addr(index: *const [usize; 2]) -> *mut u8;
}

fn from_head(offset: usize) -> usize {
    let word: usize;
    // SAFETY: reads a word of the head that FS points at.
    unsafe { asm!("mov {}, fs:[{}]", out(reg) word, in(reg) offset, options(nostack, readonly)) };
    word
}

/// Looks at the thread-locals of the C library and of Rust, then changes them.
extern "C" fn look(seen: *mut Seen) {
    // SAFETY: the caller's own structure, lent for the call.
    let seen = unsafe { &mut *seen };
    seen.errno = Errno::last_raw();
    seen.count = COUNT.get();
    // SAFETY: a C string, and no end is asked for.
    seen.number = unsafe { strtod(c"-2.5e3".as_ptr(), ptr::null_mut()) };
    // SAFETY: a character.
    seen.letter = c_int::from(unsafe { isalpha(c_int::from(b'q')) } != 0);
    // SAFETY: no arguments.
    seen.thread = unsafe { libc::pthread_self() } as usize;
    seen.canary = from_head(head::CANARY);
    seen.guard = from_head(head::POINTER_GUARD);
    // SAFETY: no arguments.
    seen.cpu = unsafe { libc::sched_getcpu() };
    // SAFETY: no arguments.
    seen.resolver = unsafe { __res_state() } as usize;
    // SAFETY: no such descriptor: fails, and stores to `errno`.
    unsafe { libc::close(-1) };
    COUNT.set(COUNT.get() + 1);
}

#[test]
fn a_block_has_thread_locals_of_its_own_and_keeps_them() {
    let template = Template::capture().unwrap();
    let (one, other) = (place(&template, [0x5a; 16]), place(&template, [0xa5; 16]));
    one.restore();
    other.restore();
    COUNT.set(1000);
    Errno::ENOENT.set();
    let mut host = Seen::default();
    look(&mut host);
    Errno::ENOENT.set();

    let mut seen = Seen::default();
    one.run(look, &mut seen);
    assert_eq!((seen.errno, seen.count), (0, 7), "as a new thread has them");
    assert_eq!((seen.number, seen.letter), (-2500.0, 1));
    assert_eq!((seen.canary, seen.guard), (0x5a5a_5a5a_5a5a_5a00, 0x5a5a_5a5a_5a5a_5a5a));
    assert_ne!((seen.canary, seen.guard), (host.canary, host.guard));
    assert_eq!(seen.thread, one.image.fs_base());
    assert!(seen.cpu >= 0, "the kernel is asked: {}", seen.cpu);
    let block = one.image.fs_base()..one.image.fs_base() + template.bytes();
    assert!(block.contains(&seen.resolver), "{seen:x?}");

    one.run(look, &mut seen);
    assert_eq!((seen.errno, seen.count), (libc::EBADF, 8), "what the last visit left");
    other.run(look, &mut seen);
    assert_eq!((seen.errno, seen.count), (0, 7), "another block");
    assert_eq!((seen.canary, seen.thread), (0xa5a5_a5a5_a5a5_a500, other.image.fs_base()));

    assert_eq!(Errno::last(), Errno::ENOENT);
    assert_eq!(COUNT.get(), 1001);
    assert_eq!(from_head(head::CANARY), host.canary);
    // SAFETY: no arguments.
    assert_eq!(unsafe { libc::pthread_self() } as usize, host.thread);
}

#[test]
fn a_block_that_was_ruined_is_restored_with_new_secrets() {
    let template = Template::capture().unwrap();
    let mut block = place(&template, [1; 16]);
    block.restore();
    let mut first = Seen::default();
    block.run(look, &mut first);
    block.memory.fill(u128::MAX / 3);
    block.image.set_secrets([2; 16]);
    block.restore();
    let mut second = Seen::default();
    block.run(look, &mut second);
    assert_eq!((second.canary, second.guard), (0x0202_0202_0202_0200, 0x0202_0202_0202_0202));
    assert_eq!(Seen { canary: first.canary, guard: first.guard, cpu: first.cpu, ..second }, first);
}

#[test]
fn a_thread_local_is_given_a_value_inside() {
    let template = Template::capture().unwrap();
    let mut block = place(&template, [1; 16]);
    let offset = COUNT.with(|count| (&raw const *count).addr()).wrapping_sub(thread_pointer());
    block.image.set_word(offset.cast_signed(), 4711).unwrap();
    block.restore();
    let mut seen = Seen::default();
    block.run(look, &mut seen);
    assert_eq!(seen.count, 4711);
    for outside in [isize::MIN, -(1 << 30), offset.cast_signed() + 1, 1 << 30, isize::MAX] {
        assert!(matches!(block.image.set_word(outside, 0), Err(Error::Offset(told)) if told == outside));
    }
}

/// Every module of the program that has its thread-locals in the static block.
fn static_modules() -> Vec<(usize, usize)> {
    unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: the loader's, valid for the call.
        let info = unsafe { &*info };
        // SAFETY: the vector below, lent for the call.
        let found = unsafe { &mut *found.cast::<Vec<(usize, usize)>>() };
        if info.dlpi_tls_modid != 0 && !info.dlpi_tls_data.is_null() {
            found.push((info.dlpi_tls_modid, info.dlpi_tls_data.addr()));
        }
        0
    }
    let mut found = Vec::new();
    // SAFETY: `each` is a callback of the right type, and is given what it expects.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut found).cast()) };
    found
}

/// The module whose number stands in `count`: its block goes to `thread`.
extern "C" fn ask_loader(seen: *mut Seen) {
    // SAFETY: the caller's own structure, lent for the call.
    let seen = unsafe { &mut *seen };
    // SAFETY: the number of a module that is loaded, and its first thread-local.
    seen.thread = unsafe { __tls_get_addr(&[seen.count, 0]) }.addr();
}

#[test]
fn the_table_of_modules_leads_into_the_block() {
    let template = Template::capture().unwrap();
    let block = place(&template, [3; 16]);
    block.restore();
    let host_base = thread_pointer();
    let modules = static_modules();
    let inside = |address: &usize| host_base - template.bytes() < *address && *address <= host_base;
    let modules: Vec<_> = modules.into_iter().filter(|(_, address)| inside(address)).collect();
    assert!(modules.len() >= 2, "the program's and the C library's: {modules:x?}");
    for (module, address) in modules {
        let mut seen = Seen { count: module, ..Seen::default() };
        block.run(ask_loader, &mut seen);
        let expected = block.image.fs_base() - (host_base - address);
        assert_eq!(seen.thread, expected, "module {module}");
    }
}

/// Built with the stack protector in every function and thread-locals reached through `__tls_get_addr`.
const LIBRARY: &str = r"
#include <setjmp.h>
#include <stddef.h>
static __thread long visits = 41;
static __thread jmp_buf here;
static __attribute__((noinline)) void leap(void) { longjmp(here, 3); }
long visit(void) {
    volatile char room[64];
    for (size_t i = 0; i < sizeof room; i++) room[i] = (char)i;
    if (setjmp(here) == 0) leap();
    visits += room[1];
    return visits;
}
";

fn load(name: &str) -> extern "C" fn() -> c_long {
    let folder = std::env::temp_dir().join(format!("ringfence-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("tls.c"), folder.join(format!("lib{name}.so")));
    std::fs::write(&source, LIBRARY).unwrap();
    let options = ["-shared", "-fPIC", "-O1", "-fstack-protector-all", "-ftls-model=global-dynamic", "-o"];
    let built = Command::new("cc").args(options).arg(&library).arg(&source).status();
    assert!(built.unwrap().success(), "cc builds a library with thread-locals");
    let path = CString::new(library.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: the library has no code that runs when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    std::fs::remove_dir_all(folder).unwrap();
    // SAFETY: the handle was just opened and is never closed.
    let visit = unsafe { libc::dlsym(handle, c"visit".as_ptr()) };
    assert!(!visit.is_null());
    // SAFETY: `long visit(void)`, as it stands above.
    unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> c_long>(visit) }
}

/// Calls the function whose address stands in `thread`; the answer goes to `count`.
extern "C" fn visit_library(seen: *mut Seen) {
    // SAFETY: the caller's own structure, lent for the call.
    let seen = unsafe { &mut *seen };
    // SAFETY: `visit` of the library, as `load` gave it.
    let visit = unsafe { mem::transmute::<usize, extern "C" fn() -> c_long>(seen.thread) };
    seen.count = visit().cast_unsigned() as usize;
}

fn visit_on(block: &Place, visit: extern "C" fn() -> c_long) -> usize {
    let mut seen = Seen { thread: visit as usize, ..Seen::default() };
    block.run(visit_library, &mut seen);
    seen.count
}

#[test]
fn libraries_with_dynamic_thread_locals_work_loaded_before_and_after() {
    let early = load("early");
    assert_eq!(early(), 42, "on the host's block");
    let template = Template::capture().unwrap();
    let block = place(&template, [0xc3; 16]);
    block.restore();
    assert_eq!([visit_on(&block, early), visit_on(&block, early)], [42, 43]);
    for number in 0..20 {
        let late = load(&format!("late-{number}"));
        assert_eq!(visit_on(&block, late), 42, "library {number}");
        assert_eq!(late(), 42);
    }
    assert_eq!(visit_on(&block, early), 44);
    assert_eq!(early(), 43, "the host's block has its own");
    block.restore();
    assert_eq!(visit_on(&block, early), 42);
}
