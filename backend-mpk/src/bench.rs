//! The gate by itself, for benchmarks: with a domain in which nothing is done, and without the instructions that need protection keys.
//!
//! Not part of the API, and only in builds with the feature `bench`.
//!
//! # Safety
//! [`Gate`] goes through the gate as `Domain` does. [`Bare`] changes instructions of the running program, after which no domain can be
//! entered.
#![expect(unsafe_code, reason = "enters the gate, and writes to its code")]

use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{ProtFlags, mprotect};
use ringfence_core::backend::{Data, Entry, Finish, Isolate, Outcome, Work};
use ringfence_core::region::Outlet;
use ringfence_core::{Config, Error, Limits, Unavailable};

use crate::NAME;
use crate::arena::Block;
use crate::control::{self, Control, OWNERS, rights, selector};
use crate::domain::Domain;
use crate::gate::{self, Crossed, places};
use crate::region::PAGE_BYTES;
use crate::shared::Shared;
use crate::{probe, thread, tls};

/// A domain in which nothing is done: each crossing is the gate, with one empty function inside.
#[derive(Debug)]
pub struct Gate {
    control: &'static Control,
    /// Where the function is that is called inside.
    function: u64,
    _domain: Domain,
    /// It is the control block of the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Gate {
    /// Makes the domain, and checks that inside it the rights are its own.
    ///
    /// # Errors
    /// As [`Mpk::new`](crate::Mpk::new).
    pub fn new() -> Result<Self, Error> {
        // The crossings below have no numbers of their own: the watchdog takes them for one that lasts.
        let config = Config { limits: Limits::new().wall(Duration::from_secs(86_400)), ..Config::default() };
        let shared = Arc::new(Shared::new(&config, probe::platform()?)?);
        let mut domain = Domain::new(&shared)?;
        // SAFETY: the address of a function of an entry's type, in this process.
        let entry = unsafe { Entry::from_address(tell_rights as *const () as usize) };
        // SAFETY: the function looks at no data.
        let work = unsafe { Work::from_parts(entry, Data::Request { bytes: 0 }) };
        let told = domain.enter(work)?.read_array::<u32, 1>().unwrap_or_default();
        let control = thread::control()?;
        // From here on the block describes this domain, until another one is entered.
        if told != [control.domain_pkru.load(Ordering::Relaxed)] {
            return Err(Unavailable::backend(NAME, "inside, the rights are not the domain's").into());
        }
        let function = do_nothing as *const () as u64;
        control.resume_rax.store(function, Ordering::Relaxed);
        Ok(Self { control, function, _domain: domain, _thread: PhantomData })
    }

    /// Goes in and comes back. `false` if it did not, or if the thread has entered another domain since [`new`](Self::new).
    #[inline]
    #[must_use]
    pub fn cross(&self) -> bool {
        if self.control.resume_rax.load(Ordering::Relaxed) != self.function {
            return false;
        }
        // SAFETY: the control block is this thread's, since this value stays there; the last crossing it was filled in for is the one of this
        // domain, as the function in it shows, and this value keeps the domain with its key; the function takes its argument and does nothing.
        unsafe { gate::cross(self.control) == Crossed::Returned }
    }
}

extern "C" fn do_nothing(_: u64) {}

/// # Safety
/// None: it looks at no data.
unsafe fn tell_rights(_: *const u8, _: usize, mut reply: Outlet<'_>) -> Finish {
    let rights = gate::rights_now();
    let outcome = reply.write_numbers(&[rights]).map_or(Outcome::ReplyTooLarge, |()| Outcome::Returned);
    Finish { outcome, reply_bytes: size_of_val(&rights) }
}

/// The gate as it is linked, but with RDPKRU and WRPKRU replaced by no-ops of their length: it goes nowhere, at the price of everything
/// else a crossing consists of. Works on processors without protection keys.
#[derive(Debug)]
pub struct Bare {
    control: &'static Control,
    _stack: Box<Stack>,
    _thread: PhantomData<*const ()>,
}

const STACK_BYTES: usize = 16 << 10;

#[derive(Debug)]
#[repr(align(64))]
struct Stack {
    _bytes: [u8; STACK_BYTES],
}

/// Any key will do: only the number counts.
const KEY: u32 = 1;

impl Bare {
    /// Takes the instructions out of the gate. From here on this process has no domains.
    ///
    /// # Safety
    /// No domain is entered in this process any more, and no other thread is in one.
    ///
    /// # Errors
    /// The kernel does not let the program write its FS base, or its own code; the gate has no blocks left, or not the instructions it should.
    pub unsafe fn new() -> Result<Self, Error> {
        const HWCAP2_FSGSBASE: u64 = 1 << 1;
        // SAFETY: reads a word the kernel gave the process.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
            return Err(Unavailable::backend(NAME, "the program cannot write its FS base").into());
        }
        let control = Block::take()?.control();
        let stack = Box::new(Stack { _bytes: [0; STACK_BYTES] });
        let end = ptr::from_ref(&*stack) as u64 + STACK_BYTES as u64;
        let base = tls::thread_pointer() as u64;
        for (field, value) in [
            (&control.host_fs, base),
            (&control.domain_fs, base),
            (&control.domain_rsp, end),
            (&control.resume_rip, places::call()),
            (&control.resume_rax, give_rights as *const () as u64),
        ] {
            field.store(value, Ordering::Relaxed);
        }
        control.domain_pkru.store(rights(KEY), Ordering::Relaxed);
        control.key.store(KEY, Ordering::Relaxed);
        control.resume_selector.store(selector::ALLOW, Ordering::Relaxed);
        if let Some(owner) = OWNERS.get(KEY as usize) {
            owner.store(ptr::from_ref(control).cast_mut(), Ordering::Relaxed);
        }
        let width = match () {
            () if std::arch::is_x86_feature_detected!("avx512f") => 2,
            () if std::arch::is_x86_feature_detected!("avx") => 1,
            () => 0,
        };
        control::VECTORS.store(width, Ordering::Relaxed);
        // SAFETY: the caller says that nobody needs the instructions any more.
        unsafe { take_out() }?;
        Ok(Self { control, _stack: stack, _thread: PhantomData })
    }

    /// Goes through the gate both ways.
    #[inline]
    #[must_use]
    pub fn cross(&self) -> bool {
        // SAFETY: the control block is this value's own and names a stack of its own and a function that keeps to the calling convention; FS
        // stays this thread's. The way out finds the block by the key number that the function leaves where RDPKRU would have put it.
        unsafe { gate::cross(self.control) == Crossed::Returned }
    }
}

extern "C" fn give_rights(_: u64) -> u32 {
    rights(KEY)
}

/// # Safety
/// Nobody is in the gate, or goes there for what it does with rights.
unsafe fn take_out() -> Result<(), Error> {
    // As constants they would stand among the code, in the instructions that compare: one more WRPKRU to jump to.
    let (wrpkru, rdpkru) = ([0x0f, 0x01, black_box(0xef)], [0x0f, 0x01, black_box(0xee)]);
    // SDM volume 2, table 4-12: nop dword ptr [rax]
    const NOTHING: [u8; 3] = [0x0f, 0x1f, 0x00];
    // xor eax, eax; nop: rights that close nothing, which is what a thread outside is looked at for.
    const NO_RIGHTS: [u8; 3] = [0x31, 0xc0, 0x90];
    // The way out asks first who is inside: what the function there has left in eax.
    let asks = places::exit() as usize..places::exit() as usize + 8;
    let code: Range<usize> = places::entering().start as usize..places::calling().start as usize;
    let pages = code.start & !(PAGE_BYTES - 1)..code.end.next_multiple_of(PAGE_BYTES);
    let protect = |protection| {
        let start = NonNull::new(pages.start as *mut _).ok_or(Errno::EFAULT)?;
        // SAFETY: pages of the program's code, which stay executable throughout.
        unsafe { mprotect(start, pages.end - pages.start, protection) }
    };
    let refused = |errno| Error::os("make the gate's code writable", errno);
    let readable = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    protect(readable | ProtFlags::PROT_WRITE).map_err(refused)?;
    let mut taken = 0;
    for address in code.start..code.end - wrpkru.len() {
        let place = address as *mut [u8; 3];
        // SAFETY: bytes of the gate, aligned as bytes are.
        let bytes = unsafe { place.read_volatile() };
        let instead = match bytes {
            bytes if bytes == wrpkru => NOTHING,
            bytes if bytes == rdpkru && asks.contains(&address) => NOTHING,
            bytes if bytes == rdpkru => NO_RIGHTS,
            _ => continue,
        };
        // SAFETY: as above, and writable now; a whole instruction is replaced by whole instructions.
        unsafe { place.write_volatile(instead) };
        taken += 1;
    }
    protect(readable).map_err(refused)?;
    if taken == 6 {
        Ok(())
    } else {
        Err(Unavailable::backend(NAME, "the gate's code is not as it should be").into())
    }
}
