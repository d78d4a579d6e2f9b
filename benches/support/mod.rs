//! The measuring half of the benches: a sampler, the baselines to compare with, and the tables.
//!
//! | file | what it holds |
//! |---|---|
//! | `work` | the functions every variant runs |
//! | `variant` | what a variant is: `Subject` (a function call) and `Action` (one whole operation) |
//! | `load` | which call is timed, on which input, and how its answer is checked |
//! | `sample`, `histogram` | round-robin slices, percentiles |
//! | `table` | printed tables and targets |
//! | `arena`, `shm`, `child`, `placement` | what baselines share: memory, its protocol, a forked child, its CPU |
//! | `futex`, `spin`, `pipes`, `ipc`, `forks`, `direct` | one baseline each |
//! | `sandbox`, `recovery` | ringfence: its calls, its recovery from a crash |
//! | `busy`, `host` | a busy CPU beside the call; a host that has grown; the heap's settings |

pub(crate) mod arena;
pub(crate) mod busy;
pub(crate) mod child;
pub(crate) mod direct;
pub(crate) mod forks;
pub(crate) mod futex;
pub(crate) mod histogram;
pub(crate) mod host;
pub(crate) mod ipc;
pub(crate) mod load;
pub(crate) mod pipes;
pub(crate) mod placement;
pub(crate) mod recovery;
pub(crate) mod sample;
pub(crate) mod sandbox;
pub(crate) mod shm;
pub(crate) mod spin;
pub(crate) mod table;
pub(crate) mod variant;
pub(crate) mod work;
