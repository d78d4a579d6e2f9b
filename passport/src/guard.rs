//! An export that happens when a scope ends, however it ends.

use std::error::Error as _;
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
    tracker: Tracker,
    directory: PathBuf,
    finished: bool,
}

impl ExportOnDrop {
    pub(crate) const fn new(tracker: Tracker, directory: PathBuf) -> Self {
        Self { tracker, directory, finished: false }
    }

    /// Exports now, and answers with the path of the file.
    ///
    /// # Errors
    /// As [`Snapshot::export_json`](crate::Snapshot::export_json).
    pub fn finish(mut self) -> Result<PathBuf, Error> {
        self.finished = true;
        self.tracker.export_json(&self.directory)
    }
}

impl Drop for ExportOnDrop {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = self.tracker.export_json(&self.directory) {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            // Standard error may be closed, and then there is nobody to tell.
            let _ = writeln!(io::stderr(), "memory passports are not exported: {error}{cause}");
        }
    }
}
