//! What the kernel saved of the interrupted code, to be read and changed before it goes on.
//!
//! # Safety
//! Raw access to the frame of a signal that is being handled, on a stack that only this thread's kernel entry writes.
#![expect(unsafe_code, reason = "reads and writes a signal frame")]

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_void, siginfo_t, ucontext_t};

use crate::record::REGISTERS;

/// Where PKRU lies in the saved extended state: CPUID.(EAX=0DH,ECX=9):EBX, set once by the probe.
pub(crate) static RIGHTS_OFFSET: AtomicU32 = AtomicU32::new(0);

/// Where XSTATE_BV lies: behind the 512 bytes of the legacy area (SDM volume 1, 13.4.2).
const XSTATE_BV: usize = 512;
/// PKRU's bit there.
const RIGHTS_BIT: u64 = 1 << 9;

/// The frame of a signal.
#[derive(Debug)]
pub(crate) struct Context {
    context: *mut ucontext_t,
}

impl Context {
    /// # Safety
    /// The pointer is what the kernel gave to the handler that is running, and is not used elsewhere meanwhile.
    pub(crate) unsafe fn new(context: *mut ucontext_t) -> Self {
        Self { context }
    }

    /// Whether the extended state lies where the kernel puts it.
    pub(crate) fn is_within(&self, stack: &Range<u64>) -> bool {
        let offset = u64::from(RIGHTS_OFFSET.load(Ordering::Relaxed));
        let state = self.extended_state() as u64;
        stack.contains(&state) && state.checked_add(offset).is_some_and(|place| stack.contains(&place))
    }

    fn place(&self, register: i32) -> *mut i64 {
        // SAFETY: the context is readable, by `new`; the place of a field is computed, nothing is read.
        let registers = unsafe { &raw mut (*self.context).uc_mcontext.gregs };
        let index = usize::try_from(register).unwrap_or(0).min(REGISTERS - 1);
        // SAFETY: the index is below the array's length.
        unsafe { registers.cast::<i64>().add(index) }
    }

    /// A general register, by its number in `<sys/ucontext.h>`.
    pub(crate) fn get(&self, register: i32) -> u64 {
        // SAFETY: the place is one of the context's registers.
        unsafe { self.place(register).read() }.cast_unsigned()
    }

    pub(crate) fn set(&mut self, register: i32, value: u64) {
        // SAFETY: the place is one of the context's registers, and the frame is this handler's.
        unsafe { self.place(register).write(value.cast_signed()) };
    }

    /// Has the code go on in the 64-bit code segment, with the stack segment of every program, whatever it was in.
    pub(crate) fn set_segments(&mut self) {
        // `__USER_CS` and `__USER_DS` (`asm/segment.h`), in the lowest and the highest quarter.
        const SEGMENTS: u64 = 0x2b << 48 | 0x33;
        self.set(libc::REG_CSGSFS, SEGMENTS);
    }

    pub(crate) fn registers(&self) -> [i64; REGISTERS] {
        // SAFETY: the whole array is part of the context.
        unsafe { self.place(0).cast::<[i64; REGISTERS]>().read() }
    }

    fn extended_state(&self) -> *mut c_void {
        // SAFETY: the context is readable, by `new`. On x86-64 the kernel always saves the extended state.
        unsafe { (*self.context).uc_mcontext.fpregs.cast() }
    }

    /// The rights the interrupted code goes on with.
    pub(crate) fn set_rights(&mut self, rights: u32) {
        let state = self.extended_state();
        // SAFETY: the header lies behind the legacy area in every frame with extended state, which a processor with keys has.
        let present = unsafe { state.byte_add(XSTATE_BV) }.cast::<u64>();
        // SAFETY: as above; aligned to 8, since the state is aligned to 64.
        let components = unsafe { present.read() };
        // SAFETY: as above.
        unsafe { present.write(components | RIGHTS_BIT) };
        let offset = RIGHTS_OFFSET.load(Ordering::Relaxed) as usize;
        // SAFETY: the processor says that PKRU lies there.
        let place = unsafe { state.byte_add(offset) }.cast::<u32>();
        // SAFETY: as above.
        unsafe { place.write(rights) };
    }
}

/// What the kernel says about a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    info: *const siginfo_t,
}

impl Info {
    /// # Safety
    /// As [`Context::new`].
    pub(crate) unsafe fn new(info: *const siginfo_t) -> Self {
        Self { info }
    }

    /// `si_code`.
    pub(crate) fn code(self) -> i32 {
        // SAFETY: the information is readable, by `new`.
        unsafe { (*self.info).si_code }
    }

    /// A field of the union behind the three common ones (`asm-generic/siginfo.h`).
    fn field<T: Copy>(self, offset: usize) -> T {
        // SAFETY: every caller's offset and type lie within the 128 bytes.
        let place = unsafe { self.info.byte_add(offset) }.cast::<T>();
        // SAFETY: as above; fields are aligned, and any bytes are a number.
        unsafe { place.read() }
    }

    /// `si_addr`.
    pub(crate) fn address(self) -> u64 {
        self.field(16)
    }

    /// `si_pkey`, for `SEGV_PKUERR`.
    pub(crate) fn key(self) -> u32 {
        self.field(32)
    }

    /// `si_syscall`, for SIGSYS.
    pub(crate) fn syscall(self) -> i32 {
        self.field(24)
    }

    /// `si_arch`, for SIGSYS.
    pub(crate) fn architecture(self) -> u32 {
        self.field(28)
    }
}
