//! A thread that "dies" of an illegal instruction is unwound from its registers and a copy of its stack, as a dead
//! isolate is; and nothing that a hostile isolate could leave in those does more than spoil its own backtrace.
//!
//! # Safety
//! The tests plant a fault, survive it through a signal handler, and load and unload libraries.
#![expect(unsafe_code, reason = "signal handlers, inline assembly and dlopen")]
#![expect(clippy::expect_used, reason = "a test whose case cannot be set up fails")]

use std::ffi::{CString, c_int, c_void};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{mem, ptr};

use ringfence_core::fault::{Backtrace, Registers};
use ringfence_core::images::Images;

const STACK_BYTES: usize = 32 << 10;
const MAX_FRAMES: usize = 64;

/// What the handler saves.
struct Death {
    registers: Registers,
    stack: Vec<u8>,
    /// The end of the dying thread's stack.
    stack_end: usize,
}

/// Held by the test that dies, or that changes the list of loaded libraries.
static ALONE: Mutex<()> = Mutex::new(());
/// Where the handler saves to.
static DEATH: AtomicPtr<Death> = AtomicPtr::new(ptr::null_mut());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn on_illegal_instruction(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO` the kernel passes a `ucontext_t` that lasts as long as the handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: set by `die` to a live `Death` that it does not touch while `body` runs; only that thread executes ud2.
    let death = unsafe { &mut *DEATH.load(Ordering::Relaxed) };
    death.registers = Registers::from_gregs(&context.uc_mcontext.gregs);
    let stack_pointer = death.registers.rsp as usize;
    let length = death.stack.capacity().min(death.stack_end - stack_pointer);
    let from = ptr::with_exposed_provenance::<u8>(stack_pointer);
    // SAFETY: `length` bytes from the interrupted stack pointer are on that thread's stack, which waits for us, and
    // the vector has room for them; this handler runs on the alternate stack, so the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(from, death.stack.as_mut_ptr(), length) };
    // SAFETY: `length` is at most the capacity, and that many bytes were just written.
    unsafe { death.stack.set_len(length) };
    // Over the two bytes of ud2.
    context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
}

fn end_of_this_stack() -> usize {
    // SAFETY: all-zero bytes are a valid `pthread_attr_t` to be overwritten.
    let mut attributes: libc::pthread_attr_t = unsafe { mem::zeroed() };
    // SAFETY: the function returns the calling thread's own handle.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: `this` is a live thread and `attributes` is valid for writes.
    assert_eq!(unsafe { libc::pthread_getattr_np(this, &mut attributes) }, 0);
    let (mut start, mut length) = (ptr::null_mut(), 0);
    // SAFETY: `attributes` was initialised above; the two results are valid for writes.
    assert_eq!(unsafe { libc::pthread_attr_getstack(&attributes, &mut start, &mut length) }, 0);
    // SAFETY: `attributes` was initialised above and is not used afterwards.
    unsafe { libc::pthread_attr_destroy(&mut attributes) };
    start.addr() + length
}

/// Runs `body`, which must reach [`fault`], and returns what the handler saved there.
fn die(body: impl FnOnce()) -> Death {
    let mut action: libc::sigaction = {
        // SAFETY: all-zero bytes are a valid `sigaction`: the default action and an empty mask.
        unsafe { mem::zeroed() }
    };
    action.sa_sigaction = on_illegal_instruction as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is initialised and its handler has the signature that `SA_SIGINFO` asks for.
    assert_eq!(unsafe { libc::sigaction(libc::SIGILL, &action, ptr::null_mut()) }, 0);
    let mut death = Death {
        registers: Registers::default(),
        stack: Vec::with_capacity(STACK_BYTES),
        stack_end: end_of_this_stack(),
    };
    DEATH.store(&mut death, Ordering::Relaxed);
    body();
    DEATH.store(ptr::null_mut(), Ordering::Relaxed);
    assert_ne!(death.registers.rip, 0, "the body did not fault");
    death
}

#[inline(always)]
fn fault() {
    // SAFETY: the handler that `die` installed skips the instruction; the context switch preserves all registers.
    unsafe { std::arch::asm!("ud2") };
}

#[inline(never)]
fn innermost(number: u32) -> u32 {
    fault();
    black_box(number) + 1
}

#[inline(never)]
fn middle(number: u32) -> u32 {
    let local = black_box([number; 100]);
    innermost(local[7]) + 1
}

#[inline(never)]
fn outermost(number: u32) -> u32 {
    middle(black_box(number)) + 1
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    black_box(innermost(1)) as c_int - 2
}

#[inline(never)]
fn sort_two() {
    let mut numbers = [2_u32, 1];
    // SAFETY: the array has two elements of four bytes, and `compare` is a total order: all equal.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 2, 4, Some(compare)) };
    black_box(numbers);
}

#[inline(never)]
fn call_null() {
    // SAFETY: the null call is emulated: its return address is pushed, and the fault happens where the call would be.
    unsafe {
        std::arch::asm!(
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "ud2",
            "add rsp, 8",
            "2:",
            "nop",
            scratch = out(reg) _,
        );
    };
}

fn unwind(death: &Death) -> Backtrace {
    Backtrace::new(Images::capture().unwind(&death.registers, &death.stack, MAX_FRAMES))
}

/// Whether the frames contain these functions in this order, others between them.
fn assert_order(backtrace: &Backtrace, functions: &[&str]) {
    let mut names = backtrace.frames().iter().filter_map(|frame| frame.symbol.as_deref());
    for function in functions {
        assert!(names.any(|name| name.contains(function)), "no {function} in its place:\n{backtrace:#}");
    }
}

#[test]
fn nested_functions_come_innermost_first() {
    let _alone = alone();
    let death = die(|| assert_eq!(black_box(outermost(1)), 4));
    let backtrace = unwind(&death);
    assert_eq!(backtrace.pcs()[0], death.registers.rip);
    assert_order(&backtrace, &["innermost", "middle", "outermost", "nested_functions_come_innermost_first"]);
    let frame = &backtrace.frames()[0];
    assert!(frame.file.as_ref().is_some_and(|file| file.ends_with("tests/unwind.rs")), "{frame:?}");
    assert!(frame.line.is_some());
}

#[test]
fn the_walk_reaches_the_bottom_of_the_stack() {
    let _alone = alone();
    let death =
        std::thread::spawn(|| die(|| _ = black_box(outermost(1)))).join().expect("the thread survives");
    assert_order(&unwind(&death), &["outermost", "__rust_begin_short_backtrace", "start"]);
}

#[test]
fn foreign_frames_are_walked_through() {
    let _alone = alone();
    let death = die(sort_two);
    let backtrace = unwind(&death);
    assert_order(&backtrace, &["innermost", "compare", "sort_two", "foreign_frames_are_walked_through"]);
    let images = Images::capture();
    let in_libc = |&pc: &u64| {
        let object = images.object_at(pc as usize);
        object.is_some_and(|object| object.name().to_string_lossy().contains("libc"))
    };
    assert!(backtrace.pcs().iter().any(in_libc), "{backtrace:#}");
}

#[test]
fn a_call_of_null_is_unwound_to_its_caller() {
    let _alone = alone();
    let mut death = die(call_null);
    // The processor would have jumped before the fault.
    death.registers.rip = 0;
    let backtrace = unwind(&death);
    assert_eq!(backtrace.pcs()[0], 0);
    assert_order(&backtrace, &["call_null", "a_call_of_null_is_unwound_to_its_caller"]);
    assert_eq!(backtrace.frames()[0].symbol, None);
}

#[test]
fn a_copy_that_starts_above_the_stack_pointer_is_enough() {
    let _alone = alone();
    let death = die(|| _ = black_box(outermost(1)));
    let whole = unwind(&death);
    // As if the innermost frame had just been moved into the guard page: only its return address is readable.
    let skipped =
        death.stack.chunks(8).position(|word| word == whole.pcs()[1].to_le_bytes()).expect("on the stack")
            * 8;
    let start = death.registers.rsp + skipped as u64;
    let images = Images::capture();
    let pcs = images.unwind_from(&death.registers, start, &death.stack[skipped..], MAX_FRAMES);
    assert_eq!(pcs, whole.pcs());
}

#[test]
fn a_short_copy_gives_the_innermost_frames() {
    let _alone = alone();
    let death = die(|| _ = black_box(outermost(1)));
    let images = Images::capture();
    let whole = images.unwind(&death.registers, &death.stack, MAX_FRAMES);
    for length in (0..death.stack.len().min(4096)).step_by(5) {
        let pcs = images.unwind(&death.registers, &death.stack[..length], MAX_FRAMES);
        assert!(whole.starts_with(&pcs), "{length} bytes: {pcs:x?} is not the start of {whole:x?}");
    }
    assert_eq!(images.unwind(&death.registers, &death.stack, 2), whole[..2]);
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number of the kinds that unwinders trip over.
    fn hostile(&mut self, images: &[(u64, u64)], rsp: u64) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => self.below(64),
            2 => u64::MAX - self.below(64),
            3 => (i64::MAX as u64).wrapping_add(self.below(64)).wrapping_sub(32),
            4 | 5 => {
                let (start, length) = images[self.below(images.len() as u64) as usize];
                start + self.below(length)
            }
            _ => rsp.wrapping_add(self.below(4096) * 8).wrapping_sub(64),
        }
    }
}

#[test]
fn hostile_registers_and_stacks_end_within_the_limit_and_without_a_panic() {
    let _alone = alone();
    // `unwind` would hide a panic inside it, so they are counted where they begin.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let (this, report) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == this {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        report(panic);
    }));
    let images = Images::capture();
    let code: Vec<(u64, u64)> =
        [innermost as fn(u32) -> u32 as usize, libc::qsort as unsafe extern "C" fn(_, _, _, _) as usize]
            .into_iter()
            .flat_map(|function| images.object_at(function).expect("loaded").code())
            .map(|range| (range.start as u64, range.len() as u64))
            .collect();
    let death = die(|| _ = black_box(outermost(1)));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut longest, mut total) = (0, 0);
    for round in 0..20_000 {
        let mut registers = death.registers;
        let mut stack = death.stack.clone();
        if round % 4 != 0 {
            registers.rsp =
                if round % 2 == 0 { 0x7ff0_0000_0000 } else { random.hostile(&code, death.registers.rsp) };
            registers.rip = random.hostile(&code, registers.rsp);
            registers.rbp = random.hostile(&code, registers.rsp);
            stack.truncate(random.below(4096) as usize);
        }
        let words = stack.len() as u64 / 8;
        let most = 1 << random.below(10);
        for _ in 0..random.below(1 + words.min(most)) {
            let at = random.below(words) as usize * 8;
            stack[at..at + 8].copy_from_slice(&random.hostile(&code, registers.rsp).to_le_bytes());
        }
        let max_frames = random.below(MAX_FRAMES as u64) as usize;
        let pcs = images.unwind(&registers, &stack, max_frames);
        assert!(pcs.len() <= max_frames);
        assert_eq!(pcs.first(), (max_frames > 0).then_some(&registers.rip));
        longest = longest.max(pcs.len());
        total += pcs.len();
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    // A walk that always stops at once would prove nothing.
    assert!(longest > 8 && total > 40_000, "longest {longest}, total {total}");
}

/// Builds a small library with the C compiler that links Rust programs anyway.
fn build_library(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
    std::fs::write(&source, "int late(int (*f)(int)) { return f(1) + 1; }").expect("the source is written");
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
    assert!(status.expect("cc runs").success());
    library
}

struct Library(*mut c_void);

impl Library {
    fn open(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        // SAFETY: the path is a C string, and the library has no constructors.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        Self(handle)
    }

    fn late(&self) -> usize {
        // SAFETY: the handle is open and the name is a C string.
        unsafe { libc::dlsym(self.0, c"late".as_ptr()) }.addr()
    }

    fn close(self) {
        // SAFETY: the handle is open, is not used again, and no thread is in the library.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

#[test]
fn a_library_loaded_after_the_capture_is_not_in_it() {
    let _alone = alone();
    let path = build_library("loaded_late");
    let before = Images::capture();
    let library = Library::open(&path);
    let late = library.late();
    assert!(!before.contains_code(late));
    let with = Images::capture();
    assert!(with.contains_code(late));
    assert_eq!(with.object_at(late).map(|image| image.name()), Some(path.as_path()));
    library.close();
    assert!(!Images::capture().contains_code(late));
}

#[test]
fn a_library_unloaded_after_the_capture_is_not_touched() {
    let _alone = alone();
    let library = Library::open(&build_library("unloaded"));
    let (late, images) = (library.late() as u64, Images::capture());
    library.close();
    let registers = Registers { rip: late, rsp: 0x7ff0_0000_0000, ..Registers::default() };
    let stack = [(late + 1).to_le_bytes(); 64].concat();
    assert_eq!(images.unwind(&registers, &stack, MAX_FRAMES)[0], late);
}

#[test]
fn captures_are_shared_while_nothing_changes() {
    let _alone = alone();
    let first = Images::capture();
    assert!(std::sync::Arc::ptr_eq(&first, &Images::capture()));
    let library = Library::open(&build_library("changes_the_list"));
    assert!(!std::sync::Arc::ptr_eq(&first, &Images::capture()));
    library.close();
}
