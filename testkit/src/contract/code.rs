//! `si_code` of signals, from sigaction(2) and `asm-generic/siginfo.h`.

pub(super) const SEGV_MAPERR: i32 = 1;
pub(super) const SEGV_PKUERR: i32 = 4;
pub(super) const BUS_ADRERR: i32 = 2;
pub(super) const FPE_INTDIV: i32 = 1;
pub(super) const ILL_ILLOPN: i32 = 2;
pub(super) const SYS_SECCOMP: i32 = 1;
pub(super) const SYS_USER_DISPATCH: i32 = 2;
