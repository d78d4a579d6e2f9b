//! The readings.
//!
//! # Safety
//! The unsafe code reads: `XGETBV` once CPUID says the kernel turned it on, the auxiliary vector, the kernel's and the C
//! library's names, and the state of this thread's shadow stack. Nothing is changed.
#![expect(unsafe_code, reason = "XGETBV, getauxval, uname, arch_prctl and gnu_get_libc_version")]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::ffi::{CStr, c_long, c_ulong};
use std::io;
use std::mem::MaybeUninit;

/// `AT_MINSIGSTKSZ` (Linux 5.14): the most bytes the kernel writes for one signal.
const AT_MINSIGSTKSZ: c_ulong = 51;
/// `ARCH_SHSTK_STATUS` (Linux 6.6): the shadow-stack features that are on for this thread.
const ARCH_SHSTK_STATUS: c_long = 0x5005;
/// PKRU among the parts of the extended state.
pub(super) const PKRU_COMPONENT: u32 = 9;
/// `XGETBV` may be used.
pub(super) const LEAF_1_ECX_OSXSAVE: u32 = 1 << 27;

/// What was read, undigested.
#[derive(Debug, Clone)]
pub(super) struct Readings {
    pub(super) vendor: [u8; 12],
    /// CPUID.7.0:ECX; zero where there is no such leaf, like every other reading.
    pub(super) leaf_7_ecx: u32,
    pub(super) leaf_7_ebx: u32,
    pub(super) leaf_1_ecx: u32,
    pub(super) xcr0: u64,
    /// CPUID(0xD,0).EAX.
    pub(super) xsave_components: u32,
    pub(super) pkru_bytes: u32,
    pub(super) pkru_offset: u32,
    pub(super) hwcap2: u64,
    /// The features that are on, or the error number.
    pub(super) shadow_stack: Result<u64, i32>,
    pub(super) release: String,
    pub(super) glibc: String,
    pub(super) signal_frame_bytes: u64,
}

impl Readings {
    pub(super) fn take() -> Self {
        let first = __cpuid(0);
        let leaf_1 = __cpuid(1);
        let leaf = |leaf: u32, part: u32| (leaf <= first.eax).then(|| __cpuid_count(leaf, part));
        let leaf_7 = leaf(7, 0);
        let pkru = leaf(0xD, PKRU_COMPONENT);
        let mut vendor = [0; 12];
        for (bytes, register) in vendor.chunks_exact_mut(4).zip([first.ebx, first.edx, first.ecx]) {
            bytes.copy_from_slice(&register.to_le_bytes());
        }
        Self {
            vendor,
            leaf_7_ecx: leaf_7.map_or(0, |leaf| leaf.ecx),
            leaf_7_ebx: leaf_7.map_or(0, |leaf| leaf.ebx),
            leaf_1_ecx: leaf_1.ecx,
            xcr0: read_xcr0(leaf_1.ecx),
            xsave_components: leaf(0xD, 0).map_or(0, |leaf| leaf.eax),
            pkru_bytes: pkru.map_or(0, |leaf| leaf.eax),
            pkru_offset: pkru.map_or(0, |leaf| leaf.ebx),
            hwcap2: auxiliary(libc::AT_HWCAP2),
            shadow_stack: read_shadow_stack(),
            release: read_release(),
            glibc: read_glibc(),
            signal_frame_bytes: auxiliary(AT_MINSIGSTKSZ),
        }
    }
}

/// The parts of the extended state that the kernel keeps for each thread; zero where it keeps none.
fn read_xcr0(leaf_1_ecx: u32) -> u64 {
    if leaf_1_ecx & LEAF_1_ECX_OSXSAVE == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE is set, as was just checked, so the instruction exists outside the kernel, and register 0 always does.
    // It reads ECX, writes EAX and EDX, and touches neither memory nor flags.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// An entry of the auxiliary vector; zero if absent.
fn auxiliary(kind: c_ulong) -> u64 {
    // SAFETY: takes any number and reads memory the kernel wrote before the program began.
    unsafe { libc::getauxval(kind) }
}

fn read_shadow_stack() -> Result<u64, i32> {
    let mut features = 0_u64;
    // SAFETY: this operation writes one u64 to the address, which is a live one's, and changes nothing else.
    let answer = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SHSTK_STATUS, &raw mut features) };
    if answer == 0 { Ok(features) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// `uname -r`; empty if the kernel will not say.
fn read_release() -> String {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the pointer is valid for writes of the whole structure.
    let answer = unsafe { libc::uname(names.as_mut_ptr()) };
    if answer != 0 {
        return String::new();
    }
    // SAFETY: an array of characters for each field, for which zeroes are a value, and the kernel filled it.
    let names = unsafe { names.assume_init() };
    let bytes = names.release.map(|character| character.cast_unsigned());
    CStr::from_bytes_until_nul(&bytes).unwrap_or_default().to_string_lossy().into_owned()
}

fn read_glibc() -> String {
    // SAFETY: takes nothing and answers with the address of a constant.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: a NUL-terminated constant of the library, which is never unloaded.
    unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned()
}
