//! Who holds a piece of memory: the state machine from which every status is derived.
//!
//! | event | legal when the memory is | after it |
//! |---|---|---|
//! | `AllocatedInRust` | unseen | in Rust |
//! | `AllocatedInForeign` | unseen | in foreign custody |
//! | `HandoverToFfi` | unseen, held by Rust | handed over |
//! | `ReclaimedByRust` | unseen, held by foreign code | reclaimed |
//! | `FreedByRust` | unseen, held by Rust | freed by Rust |
//! | `FreedByForeign` | unseen, held by foreign code | freed by foreign code |
//! | `OwnershipTransfer` | not freed | in foreign custody if it was handed over, else as before |
//! | `BoundaryAccess` | not freed | as before |
//! | `DomainFaulted` | anything | reclaimed if foreign code held it, else as before |
//! | `ValidationCheck`, `CorruptionDetected`, `DomainEntered`, `DomainExited` | anything | as before |
//!
//! An illegal event changes nothing, so the last legal transition decides. Unseen memory contradicts no event: a record may
//! begin in the middle of a life.

use serde::Serialize;

use crate::event::{Legality, PassportEventType};
use crate::passport::PassportStatus;

/// Where a piece of memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Custody {
    /// No event has said anything about it.
    #[default]
    Unseen,
    /// Allocated by Rust and not given away.
    InRust,
    /// Given to foreign code, as a loan as far as is known.
    HandedOver,
    /// Allocated by foreign code, or given to it for good.
    InForeign,
    /// Back with Rust.
    Reclaimed,
    /// Gone; Rust freed it.
    FreedByRust,
    /// Gone; foreign code freed it.
    FreedByForeign,
}

/// The side that holds a piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Holder {
    /// Rust.
    Rust,
    /// Foreign code.
    Foreign,
    /// Nobody: it was freed.
    Nobody,
}

/// What one event did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where the memory stands after the event.
    pub custody: Custody,
    /// Whether the event fitted where the memory stood before it.
    pub legality: Legality,
}

impl Custody {
    /// Where the memory stands after these events, from the first on.
    #[must_use]
    pub fn after(events: impl IntoIterator<Item = PassportEventType>) -> Self {
        events.into_iter().fold(Self::Unseen, |custody, event| custody.step(event).custody)
    }

    /// What `event` does to memory that stands here. Pure; the module's table in code.
    #[must_use]
    pub const fn step(self, event: PassportEventType) -> Transition {
        use PassportEventType as E;
        let next = match (event, self) {
            (E::AllocatedInRust, Self::Unseen) => Some(Self::InRust),
            (E::AllocatedInForeign, Self::Unseen) => Some(Self::InForeign),
            (E::HandoverToFfi, Self::Unseen | Self::InRust | Self::Reclaimed) => Some(Self::HandedOver),
            (E::ReclaimedByRust, Self::Unseen | Self::HandedOver | Self::InForeign) => Some(Self::Reclaimed),
            (E::FreedByRust, Self::Unseen | Self::InRust | Self::Reclaimed) => Some(Self::FreedByRust),
            (E::FreedByForeign, Self::Unseen | Self::HandedOver | Self::InForeign) => {
                Some(Self::FreedByForeign)
            }
            (E::OwnershipTransfer, Self::HandedOver) => Some(Self::InForeign),
            (E::DomainFaulted, Self::HandedOver | Self::InForeign) => Some(Self::Reclaimed),
            (E::OwnershipTransfer | E::BoundaryAccess, _) if !self.is_freed() => Some(self),
            (
                E::ValidationCheck
                | E::CorruptionDetected
                | E::DomainEntered
                | E::DomainExited
                | E::DomainFaulted,
                _,
            ) => Some(self),
            _ => None,
        };
        match next {
            Some(custody) => Transition { custody, legality: Legality::Legal },
            None => Transition { custody: self, legality: Legality::Illegal },
        }
    }

    /// Status while the program runs. Memory that Rust allocated and kept has none of the named fates yet: `Unknown`, with
    /// [`Custody::holder`] to say that Rust holds it.
    #[must_use]
    pub const fn status(self) -> PassportStatus {
        match self {
            Self::Unseen | Self::InRust => PassportStatus::Unknown,
            Self::HandedOver => PassportStatus::HandoverToFfi,
            Self::InForeign => PassportStatus::InForeignCustody,
            Self::Reclaimed => PassportStatus::ReclaimedByRust,
            Self::FreedByRust => PassportStatus::FreedByRust,
            Self::FreedByForeign => PassportStatus::FreedByForeign,
        }
    }

    /// Final status: a handover that nothing ended by then left the memory in foreign custody.
    #[must_use]
    pub const fn status_at_shutdown(self) -> PassportStatus {
        match self {
            Self::HandedOver => PassportStatus::InForeignCustody,
            _ => self.status(),
        }
    }

    /// The side that holds the memory; `None` when no event said.
    #[must_use]
    pub const fn holder(self) -> Option<Holder> {
        match self {
            Self::Unseen => None,
            Self::InRust | Self::Reclaimed => Some(Holder::Rust),
            Self::HandedOver | Self::InForeign => Some(Holder::Foreign),
            Self::FreedByRust | Self::FreedByForeign => Some(Holder::Nobody),
        }
    }

    /// Whether the memory is gone. No event leads out of this.
    #[must_use]
    pub const fn is_freed(self) -> bool {
        matches!(self, Self::FreedByRust | Self::FreedByForeign)
    }
}
