//! Keeps forks of this process out of the moment in which a channel is mapped and not yet kept from children.
//!
//! `mmap` has no flag for that, so there is a moment between it and `MADV_DONTFORK`; a child forked in it, or a zygote with all the
//! workers to come, would hold an isolate's channel. Forks by the application itself are not held up: its children run its own code.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static LOCK: RwLock<()> = RwLock::new(());

/// Held while a channel is mapped and kept from children.
pub(crate) fn mapping() -> RwLockReadGuard<'static, ()> {
    LOCK.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held while this process is forked. The child must not use this lock, which is held for ever there.
pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
    LOCK.write().unwrap_or_else(PoisonError::into_inner)
}
