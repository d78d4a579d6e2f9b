//! One of two libraries that compress, called in a sandbox.

use ringfence::{Error, Sandbox};

use crate::{lz4, snappy};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Library {
    Snappy,
    Lz4,
}

impl Library {
    /// libsnappy, but liblz4 for domains: libsnappy writes variables of its own, which are memory of the program, and code in a domain cannot.
    pub(crate) fn suiting(sandbox: &Sandbox) -> Self {
        if sandbox.backend_name() == "mpk" { Self::Lz4 } else { Self::Snappy }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Snappy => "libsnappy",
            Self::Lz4 => "liblz4",
        }
    }

    /// `None` where the library refuses.
    pub(crate) fn compress(self, sandbox: &Sandbox, plain: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Snappy => sandbox.call(snappy::compress, plain),
            Self::Lz4 => sandbox.call(lz4::compress, plain),
        }
    }

    /// `None` where `packed` is not what the library makes.
    pub(crate) fn uncompress(self, sandbox: &Sandbox, packed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Snappy => sandbox.call(snappy::uncompress, packed),
            Self::Lz4 => sandbox.call(lz4::uncompress, packed),
        }
    }
}
