//! The code that runs first and last inside an isolate: take the arguments, call, encode the result, catch a panic.
//!
//! # Safety
//! An [`Entry`] receives raw addresses from its backend and rebuilds a function from its type alone. Each step's proof stands
//! beside it.
#![expect(unsafe_code, reason = "rebuilds a zero-sized function and borrows the request area inside")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::slice;

use crate::codec::{Arrived, Codec, DecodeError, Decoder, EncodeErrorKind, Inward, Outward, encode_into};
use crate::region::{Outlet, Source};

/// How the work inside ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// The result stands in the reply area.
    Returned = 1,
    /// It panicked; the message stands in the reply area.
    Panicked = 2,
    /// The result does not fit into the reply area.
    ReplyTooLarge = 3,
    /// The arguments could not be decoded.
    ArgumentsRejected = 4,
    /// The result refused to be encoded.
    ReplyRefused = 5,
}

impl Outcome {
    /// The outcome with this number, if there is one.
    #[must_use]
    #[inline]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Returned, Self::Panicked, Self::ReplyTooLarge, Self::ArgumentsRejected, Self::ReplyRefused]
            .into_iter()
            .find(|outcome| *outcome as u32 == number)
    }
}

/// How the work ended, and how much of the reply area it filled.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes in the reply area.
    pub reply_bytes: usize,
}

type Code = unsafe fn(data: *const u8, bytes: usize, reply: Outlet<'_>) -> Finish;

/// The address of code that does one crossing's work inside: the same in every isolate that shares the caller's image.
#[derive(Debug, Clone, Copy)]
pub struct Entry(Code);

impl Entry {
    /// The entry that calls `F` with arguments from the request area.
    pub(crate) fn call<C, F, A, R>() -> Self
    where
        C: Inward<A> + Outward<R>,
        F: for<'a> Fn(Arrived<'a, C, A>) -> R + Copy + 'static,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "`call` takes a function or closure that captures nothing; use `run`"
            );
        };
        Self(call::<C, F, A, R>)
    }

    /// The entry that calls a borrowed closure.
    pub(crate) fn run<C, F, R>() -> Self
    where
        C: Outward<R>,
        F: Fn() -> R,
    {
        Self(run::<C, F, R>)
    }

    /// Where the code is.
    #[must_use]
    #[inline]
    pub fn address(self) -> usize {
        self.0 as usize
    }

    /// An entry from its address, inside an isolate.
    ///
    /// # Safety
    /// `address` came from [`Entry::address`] in a process with the same image.
    #[must_use]
    pub unsafe fn from_address(address: usize) -> Self {
        // SAFETY: the caller promises that the address was a `Code` in a process with the same image, so it is one here.
        Self(unsafe { std::mem::transmute::<usize, Code>(address) })
    }

    /// Does the work.
    ///
    /// # Safety
    /// For an entry made by [`Sandbox::call`](crate::Sandbox::call) and sessions, `data` points to `bytes` readable bytes that
    /// nobody writes until it returns; for one made by [`Sandbox::run`](crate::Sandbox::run), `data` is the closure's address and
    /// the closure is there, unchanged, until it returns.
    pub unsafe fn perform(self, data: *const u8, bytes: usize, reply: Outlet<'_>) -> Finish {
        // SAFETY: the obligations are this function's own, passed on.
        unsafe { (self.0)(data, bytes, reply) }
    }
}

/// # Safety
/// As [`Entry::perform`], for `call`.
unsafe fn call<C, F, A, R>(data: *const u8, bytes: usize, reply: Outlet<'_>) -> Finish
where
    C: Inward<A> + Outward<R>,
    F: for<'a> Fn(Arrived<'a, C, A>) -> R + Copy + 'static,
{
    // SAFETY: `F` is zero-sized (checked where the entry is made), so a read of a dangling aligned pointer reads nothing; a value of
    // `F` existed on the caller's side, and `F: Copy` allows another.
    let function: F = unsafe { NonNull::<F>::dangling().read() };
    // SAFETY: the caller promises `bytes` readable bytes at `data` that nobody writes until this function returns.
    let request = unsafe { slice::from_raw_parts(data, bytes) };
    guarded::<C, R>(reply, || {
        let mut input = Decoder::new(Source::stable(request), usize::MAX);
        let arguments = <C as Inward<A>>::decode(&mut input)?;
        input.finish()?;
        Ok(__ringfence_begin_call::<C, F, A, R>(function, arguments))
    })
}

/// # Safety
/// As [`Entry::perform`], for `run`: `data` is the address of an `F`.
unsafe fn run<C, F, R>(data: *const u8, _: usize, reply: Outlet<'_>) -> Finish
where
    C: Outward<R>,
    F: Fn() -> R,
{
    // SAFETY: the caller promises that the closure the entry was made for is at `data`, unchanged until this function returns.
    let closure = unsafe { &*data.cast::<F>() };
    guarded::<C, R>(reply, || Ok(__ringfence_begin_run(closure)))
}

/// Calls, encodes, and turns a panic into an outcome. The closure's state after a panic is not observed again on the isolating
/// backends; on the direct backend it is the caller's, as with any `catch_unwind`.
fn guarded<C, R>(mut reply: Outlet<'_>, work: impl FnOnce() -> Result<R, DecodeError>) -> Finish
where
    C: Codec + Outward<R>,
{
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let result = match work() {
            Ok(result) => result,
            Err(_) => return Finish { outcome: Outcome::ArgumentsRejected, reply_bytes: 0 },
        };
        match encode_into(reply.reborrow(), |out| <C as Outward<R>>::encode(&result, out)) {
            Ok(reply_bytes) => Finish { outcome: Outcome::Returned, reply_bytes },
            Err(error) if error.kind() == EncodeErrorKind::Full => {
                Finish { outcome: Outcome::ReplyTooLarge, reply_bytes: 0 }
            }
            Err(_) => Finish { outcome: Outcome::ReplyRefused, reply_bytes: 0 },
        }
    }));
    attempt.unwrap_or_else(|payload| {
        let mut message = reply.reborrow();
        let text = panic_text(&*payload);
        let fits = text.len().min(message.capacity()).min(PANIC_TEXT_BYTES);
        // A message that does not fit is cut, never refused.
        let written = message.write(&text.as_bytes()[..fits]).map_or(0, |()| fits);
        // Dropping a payload runs foreign code that may panic again.
        std::mem::forget(payload);
        Finish { outcome: Outcome::Panicked, reply_bytes: written }
    })
}

/// The most of a panic's message that crosses.
pub(crate) const PANIC_TEXT_BYTES: usize = 4096;

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic with a payload that is not text"
    }
}

/// Calls the caller's function, and marks in a backtrace where it begins. It calls it directly, so that no frame of ours stands
/// between.
#[inline(never)]
fn __ringfence_begin_call<C, F, A, R>(function: F, arguments: Arrived<'_, C, A>) -> R
where
    C: Inward<A>,
    F: for<'a> Fn(Arrived<'a, C, A>) -> R,
{
    let result = function(arguments);
    // Keeps the frame: without it the call above becomes a jump.
    std::hint::black_box(());
    result
}

/// As [`__ringfence_begin_call`], for the caller's closure.
#[inline(never)]
fn __ringfence_begin_run<F, R>(closure: &F) -> R
where
    F: Fn() -> R,
{
    let result = closure();
    // As above.
    std::hint::black_box(());
    result
}
