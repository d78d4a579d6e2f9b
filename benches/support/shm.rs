//! The protocol of the shared-memory baselines, without the waiting: that is what `futex` and `spin` differ in.
//!
//! Copies: `u64 → u64` 8 bytes each way, inline in the header line; `bytes → u64` one copy in, summed in place by the child, 8 bytes
//! out; `bytes → bytes` one copy in, the child's function makes a vector, one copy of it into the arena, one copy out into
//! a fresh vector of the caller's.
//!
//! # Safety
//! The child has the turn from the moment it sees a request until it stores the reply word.

#![expect(unsafe_code, reason = "the child reads the request in place")]

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::arena::{Area, Arena};
use super::work;

/// What the child is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Operation {
    Step = 1,
    Sum = 2,
    Add = 3,
    Burn = 4,
    /// Nothing; a child that spins goes to sleep after its answer.
    Park = 5,
}

impl Operation {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Step, Self::Sum, Self::Add, Self::Burn, Self::Park]
            .into_iter()
            .find(|operation| *operation as u32 == number)
    }
}

/// Caller: copies a request in and gives the turn to the child. Returns the request's sequence number; the caller then wakes the
/// child and waits until the reply word equals it.
pub(crate) fn post(arena: &Arena, operation: Operation, bytes: &[u8], value: u64) -> io::Result<u32> {
    arena.put(Area::Request, bytes)?;
    let request = arena.request();
    request.operation.store(operation as u32, Relaxed);
    request.value.store(value, Relaxed);
    request.len_bytes.store(bytes.len() as u64, Relaxed);
    let sequence = request.word.load(Relaxed).wrapping_add(1);
    request.word.store(sequence, Release);
    Ok(sequence)
}

/// Caller: the number that was answered.
pub(crate) fn take_number(arena: &Arena) -> u64 {
    arena.reply().value.load(Relaxed)
}

/// Caller: the bytes that were answered, in a fresh vector.
pub(crate) fn take_bytes(arena: &Arena) -> io::Result<Vec<u8>> {
    arena.take(Area::Reply, arena.reply().len_bytes.load(Relaxed) as usize)
}

/// Child: does the present request and gives the turn back. The child then wakes the caller, if it may be asleep.
///
/// Returns what was done. The reply word becomes the request's sequence number.
pub(crate) fn serve(arena: &Arena) -> io::Result<Operation> {
    let (request, reply) = (arena.request(), arena.reply());
    let sequence = request.word.load(Acquire);
    let value = request.value.load(Relaxed);
    let operation = Operation::from_number(request.operation.load(Relaxed))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown operation"))?;
    // SAFETY: the child has the turn since it saw the request word, keeps it until the store at the end of this function, and
    // writes only the reply area meanwhile.
    let bytes = unsafe { arena.view(Area::Request, request.len_bytes.load(Relaxed) as usize) }?;
    let number = match operation {
        Operation::Step => work::step(value),
        Operation::Sum => work::sum(bytes),
        Operation::Burn => work::burn(value),
        Operation::Park => 0,
        Operation::Add => {
            let out = work::add(bytes, value);
            arena.put(Area::Reply, &out)?;
            reply.len_bytes.store(out.len() as u64, Relaxed);
            0
        }
    };
    reply.value.store(number, Relaxed);
    reply.word.store(sequence, Release);
    Ok(operation)
}
