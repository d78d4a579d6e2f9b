//! How code inside asks to be ended: an instruction that faults at a place the signal handler knows, with the reason in registers.
//!
//! # Safety
//! The instruction has no effect but its fault.
#![expect(unsafe_code, reason = "an instruction that faults")]

unsafe extern "C" {
    fn ringfence_mpk_trap(reason: u64, code: u64) -> !;
}

/// Where the instruction is.
pub(crate) fn place() -> u64 {
    ringfence_mpk_trap as *const () as u64
}

/// Ends the crossing of the domain it is called in: what the shim's functions do inside. Outside it is an illegal instruction.
pub(crate) extern "C" fn end(reason: u32, code: i32) -> ! {
    // SAFETY: it does nothing but fault.
    unsafe { ringfence_mpk_trap(reason.into(), i64::from(code).cast_unsigned()) }
}
