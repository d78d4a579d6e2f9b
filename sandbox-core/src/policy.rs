//! What the code inside may ask of the kernel.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::error::ConfigurationError;
use crate::guarantees::Item;

/// How far the code inside is cut off from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confinement {
    /// Memory, time, waiting and ending; reading and writing descriptors that were lent. Everything else is denied.
    Compute,
    /// No filter on system calls. The descriptors and privileges are still taken away.
    Unfiltered,
}

/// What libraries try and do without, by x86-64 number: under [`Confinement::Compute`] answered with `EACCES`.
pub const FILE_CALLS: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_ioctl,
    libc::SYS_getdents64,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_chmod,
    libc::SYS_fchmodat,
];

/// What the isolate may ask of the kernel, and which guarantees must hold.
///
/// ```
/// # use ringfence_core::{Policy, Item};
/// let policy = Policy::compute().require(Item::SystemCalls);
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    confinement: Confinement,
    allowed: Vec<i64>,
    lent: Vec<Arc<OwnedFd>>,
    required: Vec<Item>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::compute()
    }
}

impl Policy {
    /// For code that computes: memory, time, futexes, randomness, ending, and the descriptors that were lent. Opening files answers
    /// `EACCES`, so that libraries which probe for optional files go on; other calls end in [`FaultKind::Syscall`](crate::FaultKind::Syscall).
    #[must_use]
    pub fn compute() -> Self {
        Self {
            confinement: Confinement::Compute,
            allowed: Vec::new(),
            lent: Vec::new(),
            required: Vec::new(),
        }
    }

    /// No filter on system calls: for code that is trusted with the kernel, though not with this program's memory. Threads and processes
    /// are then not limited either. Does not hold
    /// against [`Threat::Hostile`](crate::Threat::Hostile).
    #[must_use]
    pub fn unfiltered() -> Self {
        Self { confinement: Confinement::Unfiltered, ..Self::compute() }
    }

    /// Allows one more system call, by its x86-64 number, with any arguments. What that call can do to the program is then the
    /// caller's to judge.
    #[must_use]
    pub fn allow_syscall(mut self, number: i64) -> Self {
        self.allowed.push(number);
        self
    }

    /// Lends a descriptor. Inside it has the number it has now; no other descriptor is open there but 0, 1 and 2.
    #[must_use]
    pub fn lend(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.lent.push(Arc::new(descriptor.into()));
        self
    }

    /// Makes construction fail where the backend cannot enforce `item`.
    #[must_use]
    pub fn require(mut self, item: Item) -> Self {
        self.required.push(item);
        self
    }

    /// How far the code inside is cut off from the kernel.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// System calls allowed beyond the confinement's own.
    #[must_use]
    pub fn allowed_syscalls(&self) -> &[i64] {
        &self.allowed
    }

    /// The lent descriptors.
    #[must_use]
    pub fn lent(&self) -> &[Arc<OwnedFd>] {
        &self.lent
    }

    /// The numbers of the lent descriptors, ascending.
    #[must_use]
    pub fn lent_numbers(&self) -> Vec<RawFd> {
        let mut numbers: Vec<RawFd> = self.lent.iter().map(|fd| fd.as_raw_fd()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What must be enforced.
    #[must_use]
    pub fn required(&self) -> &[Item] {
        &self.required
    }

    /// Whether the policy can be applied.
    ///
    /// # Errors
    /// A lent descriptor is 0, 1 or 2 (these have their own meaning inside), more than 64 are lent, or a system call number is
    /// negative or above 4,095.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        if self.lent.len() > 64 {
            return Err(ConfigurationError::new("at most 64 descriptors can be lent"));
        }
        if self.lent.iter().any(|fd| fd.as_raw_fd() <= 2) {
            return Err(ConfigurationError::new(
                "descriptors 0, 1 and 2 cannot be lent under their own numbers",
            ));
        }
        if self.allowed.iter().any(|number| !(0..4096).contains(number)) {
            return Err(ConfigurationError::new("system call numbers must be 0 to 4,095"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(Policy::compute().allow_syscall(-1).validate().is_err());
        assert!(Policy::compute().allow_syscall(4096).validate().is_err());
        assert!(Policy::compute().allow_syscall(39).validate().is_ok());
    }
}
