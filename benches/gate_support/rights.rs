//! The instruction everything else stands on, and the gate by itself.
//!
//! # Safety
//! Writes PKRU with the value it has.
#![expect(unsafe_code, reason = "rdpkru and wrpkru")]

use std::arch::asm;

use ringfence::Error;
use ringfence_mpk::bench::Gate;

use super::clock::Clock;
use super::report::{Report, Target};

pub(crate) fn measure(clock: &Clock, report: &mut Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let rights = rights();
    let pair = clock.measure(0, &mut || {
        set(rights);
        set(rights);
        Ok(0)
    })?;
    report.note("WRPKRU twice, each with its check", pair, Target::None, "16");
    let empty = clock.measure(1, &mut || Ok(u64::from(gate.cross())))?;
    report.note(
        "gate, nothing inside",
        empty,
        Target::Instructions(130.0),
        "SDRaD 107, of which four WRPKRU; scrubs nothing",
    );
    Ok(())
}

fn rights() -> u32 {
    let value: u32;
    // SAFETY: domains work here, so the instruction is there; it reads a register.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack, preserves_flags));
    };
    value
}

#[inline(always)]
fn set(rights: u32) {
    // SAFETY: the value is the one the register has; another one ends the program.
    unsafe {
        asm!(
            "wrpkru",
            "cmp eax, {rights:e}",
            "je 2f",
            "ud2",
            "2:",
            rights = in(reg) rights,
            in("eax") rights,
            in("ecx") 0,
            in("edx") 0,
            options(nostack),
        );
    }
}
