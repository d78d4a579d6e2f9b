//! What the caller wants to be protected from.

use std::fmt;

/// What the code inside is assumed to do. A backend that cannot hold against it is refused at construction
/// ([`Error::Unavailable`](crate::Error::Unavailable)); nothing is run at a lower level silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Threat {
    /// Honest code with memory-safety faults: wild writes, double frees, endless loops, aborts.
    Faults,
    /// Code an attacker controls, down to the instruction.
    Hostile,
}

impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faults => "faults of honest code",
            Self::Hostile => "hostile code",
        })
    }
}
