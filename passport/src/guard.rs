//! An export that happens when a scope ends, however it ends.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::error::Error;
use crate::tracker::Tracker;

/// Exports a tracker when it is dropped, by an early return or a panic as well. [`ExportOnDrop::finish`] does it at once and
/// hands the outcome to the caller; an error in a drop becomes one line on standard error.
///
/// A process that aborts, exits or is killed drops nothing.
#[derive(Debug)]
#[must_use = "dropped at once, it exports at once"]
pub struct ExportOnDrop {
    pending: Option<(Tracker, PathBuf)>,
}

impl ExportOnDrop {
    pub(crate) fn new(tracker: Tracker, directory: PathBuf) -> Self {
        Self { pending: Some((tracker, directory)) }
    }

    /// Exports now, and answers with the path of the file.
    ///
    /// # Errors
    /// As [`Snapshot::export_json`](crate::Snapshot::export_json).
    pub fn finish(mut self) -> Result<PathBuf, Error> {
        self.export().unwrap_or_else(|| Ok(PathBuf::new()))
    }

    fn export(&mut self) -> Option<Result<PathBuf, Error>> {
        self.pending.take().map(|(tracker, directory)| tracker.export_json(directory))
    }
}

impl Drop for ExportOnDrop {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.export() {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            // Standard error may be closed, and then there is nobody to tell.
            let _ = writeln!(io::stderr(), "memory passports are not exported: {error}{cause}");
        }
    }
}
