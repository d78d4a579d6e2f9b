//! Thread-local storage for domains.
//!
//! Compiled code reaches `errno`, the stack protector's canary, Rust's `thread_local!`s and the locale through FS. Inside a
//! domain FS must therefore point at a block that the domain may write, laid out as the C library lays out a thread's.
//! [`Template::capture`] copies one from a thread that has just begun; [`Template::image`] makes of it what belongs at one
//! place; [`Image::restore`] puts it there, the first time and after each rewind.
//!
//! What a domain's block has of its own: every static thread-local in its initial state, the table of dynamic ones (the DTV;
//! such a variable is allocated at its first use inside, with the domain's `malloc`), canary and pointer guard. What it does
//! not have:
//! * a restartable-sequences area that the kernel knows: `sched_getcpu` asks the kernel instead;
//! * a thread: the block's thread id is that of a thread that has ended, `pthread_getattr_np` knows no stack, `pthread_exit`
//!   faults;
//! * pointers that the host mangled with its own guard: what a host `setjmp` saved, or a host `atexit` registered, leads nowhere;
//! * static thread-locals of libraries loaded after the capture. Dynamic ones of up to [`DTV_SPARE_SLOTS`] such libraries work.
//!
//! The first use ever of a dynamic thread-local of a library that `dlopen` loaded makes glibc note down, in its own memory,
//! that the variable is dynamic. If that use is inside a domain it is a fault; once any thread of the host has used it, it is
//! none.

mod image;
mod loader;
mod template;
#[cfg(test)]
mod tests;

use std::{fmt, io};

pub(crate) use image::Image;
pub(crate) use loader::{rseq_offset, thread_pointer};
pub(crate) use template::Template;

/// Room in a domain's DTV for modules loaded after the capture: without it glibc would hand the table, which no `malloc`
/// made, to `realloc`.
pub(crate) const DTV_SPARE_SLOTS: usize = 32;

/// A module's place in the DTV, `dtv_t` in glibc: a pointer to its block, and what `free` is to be called with. The two slots
/// before those of modules are `[-1]`, with the number of slots, and `[0]`, with the generation.
type Slot = [usize; 2];
/// Slots before those of modules.
const HEADER_SLOTS: usize = 2;

/// Where `tcbhead_t` has what; part of the ABI of x86-64 for compilers, or unchanged since glibc 2.4.
mod head {
    /// The head's own address.
    pub(super) const TCB: usize = 0x00;
    /// The address of slot 0 of the DTV.
    pub(super) const DTV: usize = 0x08;
    /// `struct pthread`'s address, which is the head's.
    pub(super) const SELF: usize = 0x10;
    /// The stack protector's.
    pub(super) const CANARY: usize = 0x28;
    /// Mixed into the addresses that `setjmp` and `atexit` store.
    pub(super) const POINTER_GUARD: usize = 0x30;
}

/// Why there is no block.
#[derive(Debug)]
pub(crate) enum Error {
    /// The C library does not export what is needed to find a thread's block.
    Symbol(&'static str),
    /// A thread's block is not where, or not what, it is in the versions of glibc known here.
    Layout(&'static str),
    /// The thread to copy from could not be started or joined.
    Thread {
        /// What was refused.
        operation: &'static str,
        /// The error number.
        errno: i32,
    },
    /// The memory for a domain's block is too small.
    Room {
        /// [`Template::bytes`].
        needed: usize,
        /// What there was.
        given: usize,
    },
    /// No aligned word of a static thread-local lies there.
    Offset(isize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) => write!(f, "the C library does not export `{name}`"),
            Self::Layout(what) => write!(f, "a thread's block is laid out in an unknown way: {what}"),
            Self::Thread { operation, errno } => {
                write!(f, "{operation}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Room { needed, given } => {
                write!(f, "a thread's block needs {needed} bytes and got {given}")
            }
            Self::Offset(offset) => {
                write!(f, "offset {offset} from the thread pointer is no word of a static thread-local")
            }
        }
    }
}

impl std::error::Error for Error {}
