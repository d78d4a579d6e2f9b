//! What this machine has of the things a domain stands on: read once, then decided by a pure function.
//!
//! Nothing here is a promise about behaviour: a number that fits says that trying is worth while, and what a kernel does
//! with a key is for a probe to find out.

mod readings;
#[cfg(test)]
mod tests;
mod version;

use std::fmt;
use std::io;

use readings::Readings;
pub(crate) use version::Version;

/// `AT_HWCAP2`: bit 1 says that user code may read and write the FS base (Linux 5.9, `Documentation/arch/x86/x86_64/fsgs.rst`).
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// What that is where the kernel does not say: `MINSIGSTKSZ` before AVX-512, and room for a full one.
const SIGNAL_FRAME_BYTES: usize = 4096;
const ARCH_SHSTK_SHSTK: u64 = 1;

const LEAF_1_ECX_AVX: u32 = 1 << 28;
const LEAF_7_ECX_PKU: u32 = 1 << 3;
const LEAF_7_ECX_OSPKE: u32 = 1 << 4;
const LEAF_7_EBX_AVX512F: u32 = 1 << 16;

const XCR0_AVX: u64 = 0b110;
const XCR0_AVX512: u64 = 0b1110_0110;
/// The legacy region and the header of an XSAVE area: no extended component lies before their end.
const XSAVE_HEADER_END: u32 = 576;
/// Beyond the largest XSAVE area there is, tiles included.
const XSAVE_AREA_MAX: u32 = 1 << 16;

/// Syscall user dispatch.
const KERNEL_MIN: Version = Version::new(5, 11, 0);
/// From here the kernel writes signal frames with every key open.
const KERNEL_FRAMES_OPEN: Version = Version::new(6, 12, 0);
/// From here it puts the interrupted rights back on AMD processors too.
const KERNEL_FRAMES_OPEN_AMD: Version = Version::new(6, 12, 5);

/// A machine on which domains can be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Where PKRU lies in an XSAVE area, and so in a signal frame's `fpstate`: bytes from its start.
    pub(crate) pkru_offset: usize,
    /// The widest vector registers there are to scrub.
    pub(crate) vectors: Vectors,
    /// The running kernel.
    pub(crate) kernel: Version,
    /// The C library that was loaded.
    pub(crate) glibc: Version,
    /// The most bytes the kernel writes to the stack for one signal.
    pub(crate) signal_frame_bytes: usize,
}

impl Machine {
    /// Whether the kernel's version says that it writes signal frames with every key open. If not, it writes them with the
    /// rights of the interrupted code, and a signal stack which that code cannot write kills the process.
    pub(crate) fn writes_frames_with_keys_open(&self) -> bool {
        self.kernel >= KERNEL_FRAMES_OPEN
    }
}

/// Which vector registers the processor has and the kernel keeps for each thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vectors {
    /// XMM0–15.
    Sse,
    /// YMM0–15.
    Avx,
    /// ZMM0–31 and the mask registers k0–k7.
    Avx512,
}

/// The first thing that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The processor.
    Keys,
    /// The kernel's `CR4.PKE`.
    KeysEnabled,
    /// The kernel does not keep PKRU for each thread, although it turned keys on: seen in virtual machines.
    KeysSaved,
    /// CPUID gives PKRU a place in the XSAVE area where it cannot lie.
    KeysPlace {
        /// CPUID(0xD,9).EBX.
        offset: u32,
        /// CPUID(0xD,9).EAX.
        bytes: u32,
    },
    /// `WRFSBASE` outside the kernel.
    FsBase,
    /// This thread runs on a shadow stack, which a switch of stacks would have to follow.
    NoShadowStack,
    /// The kernel would not say whether it does.
    ShadowStackStatus {
        /// Its answer.
        errno: i32,
    },
    /// The release does not begin with a number.
    KernelRelease(String),
    /// The kernel is too old.
    Dispatch(Version),
    /// The kernel leaves every key open after a signal, on this processor.
    SignalReturn(Version),
    /// The C library's version does not begin with a number.
    LibraryVersion(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys => f.write_str("the processor has no protection keys (CPUID.7.0:ECX.PKU)"),
            Self::KeysEnabled => {
                f.write_str("the kernel has not turned protection keys on (CPUID.7.0:ECX.OSPKE)")
            }
            Self::KeysSaved => f.write_str(
                "the kernel does not keep key rights for each thread (XCR0 and CPUID.D.0:EAX, bit 9)",
            ),
            Self::KeysPlace { offset, bytes } => write!(
                f,
                "the processor places {bytes} bytes of key rights at offset {offset} of a signal frame (CPUID.D.9)"
            ),
            Self::FsBase => {
                f.write_str("programs may not set the FS base (AT_HWCAP2 bit 1, FSGSBASE, since Linux 5.9)")
            }
            Self::NoShadowStack => {
                f.write_str("the program runs on shadow stacks (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)")
            }
            Self::ShadowStackStatus { errno } => {
                write!(f, "ask for the shadow stack's status: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::KernelRelease(release) => write!(f, "the kernel release {release:?} has no number"),
            Self::Dispatch(kernel) => {
                write!(f, "the kernel is {kernel}, and syscall user dispatch came with {KERNEL_MIN}")
            }
            Self::SignalReturn(kernel) => write!(
                f,
                "the kernel is {kernel}, and until {KERNEL_FRAMES_OPEN_AMD} a signal leaves every key open on AMD processors"
            ),
            Self::LibraryVersion(version) => write!(f, "the C library's version {version:?} has no number"),
        }
    }
}

impl std::error::Error for Missing {}

/// Says what this machine has, or the first thing it lacks.
///
/// # Errors
/// [`Missing`].
///
/// # Cost
/// Half a dozen CPUIDs (each an exit to the hypervisor in a virtual machine) and two system calls.
pub(crate) fn examine() -> Result<Machine, Missing> {
    decide(&Readings::take())
}

/// What the readings come to.
fn decide(readings: &Readings) -> Result<Machine, Missing> {
    let need = |have: bool, missing: Missing| if have { Ok(()) } else { Err(missing) };
    need(readings.leaf_7_ecx & LEAF_7_ECX_PKU != 0, Missing::Keys)?;
    need(readings.leaf_7_ecx & LEAF_7_ECX_OSPKE != 0, Missing::KeysEnabled)?;
    let saved = readings.xcr0 & u64::from(readings.xsave_components) & 1 << readings::PKRU_COMPONENT != 0;
    need(saved, Missing::KeysSaved)?;
    let (offset, bytes) = (readings.pkru_offset, readings.pkru_bytes);
    let fits = bytes == 8 && offset.is_multiple_of(8) && (XSAVE_HEADER_END..XSAVE_AREA_MAX).contains(&offset);
    need(fits, Missing::KeysPlace { offset, bytes })?;
    need(readings.hwcap2 & HWCAP2_FSGSBASE != 0, Missing::FsBase)?;
    match readings.shadow_stack {
        Ok(features) => need(features & ARCH_SHSTK_SHSTK == 0, Missing::NoShadowStack)?,
        Err(libc::EINVAL | libc::ENOSYS) => {}
        Err(errno) => return Err(Missing::ShadowStackStatus { errno }),
    }
    let kernel = readings.release.parse().map_err(|_| Missing::KernelRelease(readings.release.clone()))?;
    need(kernel >= KERNEL_MIN, Missing::Dispatch(kernel))?;
    let hurt = amd(readings.vendor) && (KERNEL_FRAMES_OPEN..KERNEL_FRAMES_OPEN_AMD).contains(&kernel);
    need(!hurt, Missing::SignalReturn(kernel))?;
    let glibc = readings.glibc.parse().map_err(|_| Missing::LibraryVersion(readings.glibc.clone()))?;
    Ok(Machine {
        pkru_offset: offset as usize,
        vectors: vectors(readings),
        kernel,
        glibc,
        signal_frame_bytes: (readings.signal_frame_bytes as usize).max(SIGNAL_FRAME_BYTES),
    })
}

/// Processors with AMD's initial-state tracking of PKRU, Hygon's included.
fn amd(vendor: [u8; 12]) -> bool {
    matches!(&vendor, b"AuthenticAMD" | b"HygonGenuine")
}

fn vectors(readings: &Readings) -> Vectors {
    let kept = |mask: u64| readings.xcr0 & mask == mask;
    if readings.leaf_7_ebx & LEAF_7_EBX_AVX512F != 0 && kept(XCR0_AVX512) {
        Vectors::Avx512
    } else if readings.leaf_1_ecx & LEAF_1_ECX_AVX != 0 && kept(XCR0_AVX) {
        Vectors::Avx
    } else {
        Vectors::Sse
    }
}
