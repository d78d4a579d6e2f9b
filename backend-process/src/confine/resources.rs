//! Kernel limits on what the isolate may use.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringfence_core::Limits;

use crate::mapping::PAGE_BYTES;

/// The address space of a process, read from its `statm`.
#[derive(Debug)]
pub(crate) struct OwnSize {
    statm: File,
}

impl OwnSize {
    /// Opens the record of this process. A child that inherits it goes on reading the record of this process.
    pub(crate) fn open() -> std::io::Result<Self> {
        Ok(Self { statm: File::open("/proc/self/statm")? })
    }

    /// Mapped bytes of the calling process. Three system calls.
    pub(crate) fn measure() -> Result<u64, Errno> {
        let own = Self::open().ok().and_then(|size| size.bytes());
        own.ok_or(Errno::ENODATA)
    }

    /// Mapped bytes. One system call.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let mut text = [0u8; 64];
        let length = self.statm.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        let pages: u64 = text.split(' ').next()?.parse().ok()?;
        pages.checked_mul(PAGE_BYTES as u64)
    }
}

/// The limits of one isolate, in the kernel's terms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    /// Address space, with what the isolate is born with; `None` where that could not be measured.
    pub(crate) address_space_bytes: Option<u64>,
    /// One above the highest descriptor number.
    pub(crate) descriptors: u64,
}

impl Resources {
    /// Limits for an isolate born with `own_bytes` of address space that maps `shared_bytes` more before it starts, with lent
    /// descriptors up to `highest_lent`.
    pub(crate) fn new(
        limits: &Limits,
        own_bytes: Option<u64>,
        shared_bytes: usize,
        highest_lent: i32,
    ) -> Self {
        let address_space_bytes =
            own_bytes.map(|own| own + shared_bytes as u64 + limits.memory_limit_bytes());
        let lent = u64::try_from(highest_lent.max(2)).unwrap_or(2);
        Self { address_space_bytes, descriptors: lent + 1 + u64::from(limits.descriptor_limit()) }
    }
}

/// Puts the limits on this process. Cost: a system call each.
pub(crate) fn limit(resources: &Resources) -> Result<(), Errno> {
    lower(Resource::RLIMIT_CORE, 0)?;
    lower(Resource::RLIMIT_NOFILE, resources.descriptors)?;
    resources.address_space_bytes.map_or(Ok(()), |bytes| lower(Resource::RLIMIT_AS, bytes))
}

/// Sets a limit for good, unless the one this process was born with is lower.
fn lower(resource: Resource, limit: u64) -> Result<(), Errno> {
    let (_, most) = getrlimit(resource)?;
    let limit = limit.min(most);
    setrlimit(resource, limit, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_size_grows_with_a_mapping() {
        let size = OwnSize::open().unwrap();
        let before = size.bytes().unwrap();
        let mapping = crate::mapping::Mapping::private(256 << 20).unwrap();
        assert!(size.bytes().unwrap() >= before + (200 << 20), "{mapping:?}");
    }

    #[test]
    fn descriptors_leave_room_for_the_lent_ones() {
        let limits = Limits::new().descriptors(4);
        assert_eq!(Resources::new(&limits, None, 0, -1).descriptors, 7);
        assert_eq!(Resources::new(&limits, None, 0, 30).descriptors, 35);
    }
}
