//! What is enforced here and now.

use std::borrow::Cow;
use std::fmt;

use crate::error::Unavailable;

/// One thing a backend may hold the code inside to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Item {
    /// The code inside cannot change the caller's memory.
    MemoryIntegrity,
    /// A fault inside comes back as a value and the caller goes on.
    FaultContainment,
    /// Only the system calls of the policy are possible.
    SystemCalls,
    /// Only lent descriptors, and 0–2 on the null device or a capture, are open.
    Descriptors,
    /// Nothing executed inside can gain privileges.
    NoNewPrivileges,
    /// Other processes of the same user cannot attach to the isolate, nor is it dumped.
    NotDumpable,
    /// The wall-time limit.
    WallTime,
    /// The CPU-time limit.
    CpuTime,
    /// The memory limit.
    Memory,
    /// The reply limit.
    ReplySize,
    /// The descriptor limit.
    DescriptorCount,
    /// The limit on threads and processes.
    Processes,
    /// No lock of the caller's other threads can be held for ever inside.
    ForkedAlone,
    /// A fault carries registers and a backtrace.
    CrashReports,
}

impl Item {
    /// Every item there is.
    pub const ALL: &'static [Self] = &[
        Self::MemoryIntegrity,
        Self::FaultContainment,
        Self::SystemCalls,
        Self::Descriptors,
        Self::NoNewPrivileges,
        Self::NotDumpable,
        Self::WallTime,
        Self::CpuTime,
        Self::Memory,
        Self::ReplySize,
        Self::DescriptorCount,
        Self::Processes,
        Self::ForkedAlone,
        Self::CrashReports,
    ];
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MemoryIntegrity => "memory integrity",
            Self::FaultContainment => "fault containment",
            Self::SystemCalls => "system calls",
            Self::Descriptors => "descriptors",
            Self::NoNewPrivileges => "no new privileges",
            Self::NotDumpable => "not dumpable",
            Self::WallTime => "wall time",
            Self::CpuTime => "cpu time",
            Self::Memory => "memory",
            Self::ReplySize => "reply size",
            Self::DescriptorCount => "descriptor count",
            Self::Processes => "processes",
            Self::ForkedAlone => "forked alone",
            Self::CrashReports => "crash reports",
        })
    }
}

/// How far an [`Item`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It holds against the code inside, whatever that does.
    Enforced,
    /// It holds for honest code, or in most cases; the detail says where it does not.
    BestEffort,
    /// It does not hold.
    NotAvailable,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enforced => "enforced",
            Self::BestEffort => "best effort",
            Self::NotAvailable => "not available",
        })
    }
}

/// One item with its outcome and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarantee {
    /// What is held.
    pub item: Item,
    /// How far.
    pub status: Status,
    /// By what, or why not.
    pub detail: Cow<'static, str>,
}

/// What a sandbox enforces here and now, item by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarantees {
    backend: &'static str,
    entries: Vec<Guarantee>,
}

impl Guarantees {
    /// An empty record for a backend.
    #[must_use]
    pub fn new(backend: &'static str) -> Self {
        Self { backend, entries: Vec::new() }
    }

    /// Records the outcome of one item; a second outcome for the same item replaces the first.
    pub fn set(&mut self, item: Item, status: Status, detail: impl Into<Cow<'static, str>>) {
        let entry = Guarantee { item, status, detail: detail.into() };
        match self.entries.iter_mut().find(|existing| existing.item == item) {
            Some(existing) => *existing = entry,
            None => self.entries.push(entry),
        }
    }

    /// The backend that gives them.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// The outcome of one item; an item that was never recorded is not available.
    #[must_use]
    pub fn status(&self, item: Item) -> Status {
        self.get(item).map_or(Status::NotAvailable, |entry| entry.status)
    }

    /// One item with its reason.
    #[must_use]
    pub fn get(&self, item: Item) -> Option<&Guarantee> {
        self.entries.iter().find(|entry| entry.item == item)
    }

    /// Every recorded item.
    pub fn iter(&self) -> impl Iterator<Item = &Guarantee> {
        self.entries.iter()
    }

    /// Checks that each of `required` is [`Status::Enforced`].
    ///
    /// # Errors
    /// The first that is not, with the reason.
    pub fn require(&self, required: &[Item]) -> Result<(), Unavailable> {
        for &item in required {
            match self.get(item) {
                Some(entry) if entry.status == Status::Enforced => {}
                Some(entry) => return Err(Unavailable::item(self.backend, item, entry.detail.clone())),
                None => {
                    return Err(Unavailable::item(
                        self.backend,
                        item,
                        "the backend does not provide it".into(),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Guarantees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "backend: {}", self.backend)?;
        for entry in &self.entries {
            writeln!(f, "  {:<18} {:<14} {}", entry.item, entry.status, entry.detail)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enforced_items_satisfy_a_requirement() {
        let mut guarantees = Guarantees::new("test");
        guarantees.set(Item::Memory, Status::Enforced, "limit");
        guarantees.set(Item::CpuTime, Status::BestEffort, "sampled");
        assert!(guarantees.require(&[Item::Memory]).is_ok());
        let refused = guarantees.require(&[Item::CpuTime]).unwrap_err();
        assert!(refused.to_string().contains("sampled"), "{refused}");
        assert!(guarantees.require(&[Item::SystemCalls]).is_err(), "an unrecorded item does not hold");
    }

    #[test]
    fn no_item_is_missing_from_the_list() {
        for (position, item) in Item::ALL.iter().enumerate() {
            assert_eq!(*item as usize, position);
        }
        assert_eq!(Item::ALL.last(), Some(&Item::CrashReports), "the last one declared");
    }
}
