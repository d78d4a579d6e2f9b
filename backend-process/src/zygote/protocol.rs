//! What host and zygote say to each other. Both run only our code, so these messages are trusted.

use ipc_channel::ipc::{IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};

/// How a zygote and its workers are set up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) unfiltered: bool,
    pub(crate) allowed_syscalls: Vec<i64>,
    /// The numbers inside of the descriptors that come with the packet, ascending.
    pub(crate) lent: Vec<i32>,
    pub(crate) processes: u8,
    pub(crate) memory_bytes: u64,
    pub(crate) descriptors: u32,
    pub(crate) stack_bytes: usize,
    pub(crate) request_bytes: usize,
    pub(crate) reply_bytes: usize,
    pub(crate) spin: bool,
}

/// From the host to a zygote.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Confine yourself. The packet carries the lent descriptors.
    Begin(Setup),
    /// Fork a worker. The packet carries its channel and its standard error.
    Spawn {
        /// The number the host knows it by.
        slot: u64,
        /// How soon it is wanted.
        haste: Haste,
    },
    /// Kill a worker whose pidfd the host could not receive.
    Discard {
        /// Its number.
        slot: u64,
    },
}

/// How soon a worker is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Haste {
    /// A caller waits for it.
    Now,
    /// It will stand ready, and has time to get warm.
    Later,
}

/// From a zygote to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// Confined; workers can be made.
    Armed(Armed),
    /// A worker is born. The packet carries its pidfd.
    Spawned {
        /// The number of the command.
        slot: u64,
        /// Its process.
        pid: i32,
    },
    /// A worker could not be made.
    Failed {
        /// The number of the command.
        slot: u64,
        /// The kernel's reason.
        errno: i32,
    },
    /// A worker is dead.
    Exited {
        /// Its number.
        slot: u64,
        /// How it ended.
        end: End,
    },
}

/// How confinement of a zygote went.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Armed {
    /// Error numbers, zero for success.
    pub(crate) privileges: i32,
    pub(crate) filter: i32,
    /// Whether the address space could be measured, without which it cannot be limited.
    pub(crate) measured: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// With a status.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// Nobody knows: someone else reaped it.
    Unknown,
}

/// From the host to the early zygote: fork a zygote that has these ends. The packet carries its socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seed {
    pub(crate) commands: IpcReceiver<Command>,
    pub(crate) notices: IpcSender<Notice>,
}
