//! What host and domain tell one another about one crossing, in a page of the domain's memory.
//!
//! # Safety
//! Raw access to memory that the domain can write: never a reference, each field read once by the host and believed in nothing.
#![expect(unsafe_code, reason = "raw access to the domain's memory")]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use ringfence_core::backend::{Data, Entry, Outcome, Work};
use ringfence_core::panic_note::{REGISTERS, TEXT_BYTES, Text, registers_here};
use ringfence_core::region::Outlet;

/// Bytes of the stack that are kept of a panic.
pub(crate) const STACK_BYTES: usize = 64 << 10;

/// The page. Zeroes are a job without an outcome.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Job {
    entry: usize,
    data: *const u8,
    bytes: usize,
    reply: *mut u8,
    reply_capacity: usize,
    stack_end: usize,
    outcome: u32,
    reply_bytes: usize,
    pub(crate) note: Note,
}

/// What a panic leaves, in case nothing inside catches it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Note {
    text_bytes: usize,
    text: [u8; TEXT_BYTES],
    registers: [i64; REGISTERS],
    stack_start: usize,
    stack_bytes: usize,
    stack: [u8; STACK_BYTES],
}

/// A panic's note, in private memory.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) text: String,
    pub(crate) registers: [i64; REGISTERS],
    pub(crate) stack_start: u64,
    pub(crate) stack: Vec<u8>,
}

thread_local! {
    /// Inside: the job being done. Null in the host.
    static CURRENT: Cell<*mut Job> = const { Cell::new(ptr::null_mut()) };
}

/// A job in a domain's memory, as the host holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobAt(NonNull<Job>);

// SAFETY: an address, whose use is bound to the domain that holds it.
unsafe impl Send for JobAt {}

macro_rules! field {
    ($job:expr, $($field:ident).+) => {
        // SAFETY: the place of a field of a job that is mapped; nothing is read.
        unsafe { &raw mut (*$job).$($field).+ }
    };
}

macro_rules! put {
    ($job:expr, $($field:ident).+, $value:expr) => {{
        let place = field!($job, $($field).+);
        // SAFETY: the field is mapped, writable and aligned.
        unsafe { place.write_volatile($value) };
    }};
}

macro_rules! get {
    ($job:expr, $($field:ident).+) => {{
        let place = field!($job, $($field).+);
        // SAFETY: the field is mapped, readable and aligned; any bytes are a value of a number.
        unsafe { place.read_volatile() }
    }};
}

impl JobAt {
    /// # Safety
    /// There is room for a job, aligned, in memory that is mapped for as long as this is used; while it is used, the calling thread has the
    /// rights to it and nobody is inside the domain.
    pub(crate) unsafe fn new(start: NonNull<u8>) -> Self {
        Self(start.cast())
    }

    /// What the gate gives to [`perform`].
    pub(crate) fn address(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Writes down what stays the same from crossing to crossing.
    pub(crate) fn furnish(self, reply: NonNull<u8>, reply_capacity: usize, stack_end: usize) {
        let job = self.0.as_ptr();
        put!(job, reply, reply.as_ptr());
        put!(job, reply_capacity, reply_capacity);
        put!(job, stack_end, stack_end);
    }

    /// Writes the work down.
    pub(crate) fn set(self, work: &Work<'_>, request: NonNull<u8>) {
        let (data, bytes) = match work.data() {
            Data::Request { bytes } => (request.as_ptr().cast_const(), bytes),
            Data::Closure(closure) => (closure.address(), 0),
        };
        let job = self.0.as_ptr();
        put!(job, entry, work.entry().address());
        put!(job, data, data);
        put!(job, bytes, bytes);
        put!(job, outcome, 0);
        put!(job, note.text_bytes, 0);
    }

    /// How the work says it ended, and how much of the reply area it says it filled.
    pub(crate) fn finish(self) -> (Option<Outcome>, usize) {
        let job = self.0.as_ptr();
        (Outcome::from_number(get!(job, outcome)), get!(job, reply_bytes))
    }

    /// What a panic left.
    pub(crate) fn note(self) -> Option<Noted> {
        let job = self.0.as_ptr();
        let text_bytes = get!(job, note.text_bytes).min(TEXT_BYTES);
        if text_bytes == 0 {
            return None;
        }
        let (text, stack) = (field!(job, note.text), field!(job, note.stack));
        // SAFETY: a field of the job, which is mapped, and no more than its length.
        let text = unsafe { copied(text.cast(), text_bytes) };
        let stack_bytes = get!(job, note.stack_bytes).min(STACK_BYTES);
        Some(Noted {
            text: String::from_utf8_lossy(&text).into_owned(),
            registers: get!(job, note.registers),
            stack_start: get!(job, note.stack_start) as u64,
            // SAFETY: as above.
            stack: unsafe { copied(stack.cast(), stack_bytes) },
        })
    }
}

/// A private copy of memory nobody is inside of.
///
/// # Safety
/// From `start` on so many bytes are mapped, and the calling thread has the rights to read them.
pub(crate) unsafe fn copied(start: *const u8, bytes: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes);
    // SAFETY: readable, by the caller's promise; the copy is a fresh allocation with room for so much.
    unsafe { ptr::copy_nonoverlapping(start, copy.as_mut_ptr(), bytes) };
    // SAFETY: so many bytes have just been written.
    unsafe { copy.set_len(bytes) };
    copy
}

/// Inside: does the work. What the gate calls.
///
/// # Safety
/// A job of the domain that the thread is inside of, as [`JobAt::set`] wrote it.
pub(crate) unsafe extern "C" fn perform(job: *mut Job) {
    CURRENT.set(job);
    let (address, capacity) = (get!(job, entry), get!(job, reply_capacity));
    // SAFETY: the host wrote the address of an entry of this program.
    let entry = unsafe { Entry::from_address(address) };
    let Some(reply) = NonNull::new(get!(job, reply)) else { return };
    // SAFETY: the reply area is this domain's, of that size, and nobody else writes it while the work runs.
    let reply = unsafe { Outlet::from_raw(reply, capacity) };
    let (data, bytes) = (get!(job, data), get!(job, bytes));
    // SAFETY: the host wrote the request, or borrows the closure, for as long as this thread is inside.
    let finish = unsafe { entry.perform(data, bytes, reply) };
    put!(job, reply_bytes, finish.reply_bytes);
    put!(job, outcome, finish.outcome as u32);
}

/// Inside: leaves a panic's text, place and stack. `false` in the host.
pub(crate) fn note_panic(panic: &std::panic::PanicHookInfo<'_>) -> bool {
    let job = CURRENT.get();
    if job.is_null() {
        return false;
    }
    let text = Text::of(panic);
    put!(job, note.text, *text.bytes());
    let registers = registers_here();
    put!(job, note.registers, registers);
    let pointer =
        usize::try_from(libc::REG_RSP).ok().and_then(|index| registers.get(index)).copied().unwrap_or(0);
    let start = pointer.cast_unsigned() as usize;
    let bytes = get!(job, stack_end).saturating_sub(start).min(STACK_BYTES);
    put!(job, note.stack_start, start);
    put!(job, note.stack_bytes, bytes);
    let target = field!(job, note.stack).cast::<u8>();
    // SAFETY: from the stack pointer to the stack's end is readable, and the note has room for so much.
    unsafe { ptr::copy_nonoverlapping(start as *const u8, target, bytes) };
    put!(job, note.text_bytes, text.length());
    true
}
