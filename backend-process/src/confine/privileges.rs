//! Giving up what a process may do by being who it is.
//!
//! # Safety
//! One system call with plain data of this frame.
#![expect(unsafe_code, reason = "capset")]

use nix::errno::Errno;
use nix::sys::prctl;

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; two make a set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up all capabilities, gaining any by exec, and being attached to or dumped. Inherited by children.
pub(crate) fn give_up_privileges() -> Result<(), Errno> {
    prctl::set_no_new_privs()?;
    let header = Header { version: VERSION, pid: 0 };
    let none = [Set::default(); 2];
    // SAFETY: capset reads a header and two sets, which live for the call; a set without capabilities is always permitted.
    let dropped = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(dropped)?;
    prctl::set_dumpable(false)
}
