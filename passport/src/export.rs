//! A snapshot as JSON, and as a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::crossing::CrossingRecord;
use crate::error::Error;
use crate::event::{PassportEvent, Timestamp};
use crate::passport::MemoryPassport;
use crate::recorder::{Dropped, Totals};
use crate::snapshot::{Snapshot, TrackerInfo};

/// Version of the form of `memory_passports.json`. The first number changes when a reader of the old form would misread the
/// new one.
pub const SCHEMA_VERSION: &str = "1.0";

const FILE_NAME: &str = "memory_passports.json";

#[derive(Serialize)]
struct Document<'a> {
    schema_version: &'static str,
    tracker: &'a TrackerInfo,
    taken_at: Timestamp,
    recorded: Totals,
    dropped: Dropped,
    memory_passports: Vec<&'a MemoryPassport>,
    crossings: Vec<&'a CrossingRecord>,
    /// Those that no passport above has.
    events: Vec<&'a PassportEvent>,
}

pub(crate) fn write_memory_passports(snapshot: &Snapshot, writer: impl Write) -> Result<(), Error> {
    let has_no_passport =
        |event: &&PassportEvent| event.passport_id.and_then(|id| snapshot.passport(id)).is_none();
    let document = Document {
        schema_version: SCHEMA_VERSION,
        tracker: snapshot.tracker(),
        taken_at: snapshot.taken_at(),
        recorded: snapshot.recorded(),
        dropped: snapshot.dropped(),
        memory_passports: snapshot.passports().collect(),
        crossings: snapshot.crossings().collect(),
        events: snapshot.events().filter(has_no_passport).collect(),
    };
    serde_json::to_writer(writer, &document).map_err(Error::write)
}

pub(crate) fn export_json(snapshot: &Snapshot, directory: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(directory).map_err(|error| Error::io("create directory", directory, error))?;
    let target = directory.join(FILE_NAME);
    let unfinished = Unfinished::beside(&target);
    let file =
        File::create_new(&unfinished.path).map_err(|error| Error::io("create", &unfinished.path, error))?;
    let mut writer = BufWriter::new(file);
    write_memory_passports(snapshot, &mut writer)?;
    let synced = writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
    synced.map_err(|error| Error::io("write", &unfinished.path, error))?;
    fs::rename(&unfinished.path, &target).map_err(|error| Error::io("rename to", &target, error))?;
    Ok(target)
}

/// A file that is still being written, under a name of its own. After the rename there is nothing left to remove.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn beside(target: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { path: target.with_extension(format!("json.{}-{number}.tmp", std::process::id())) }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) fn location<S: Serializer>(
    location: &Option<&'static Location<'static>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Place {
        file: &'static str,
        line: u32,
        column: u32,
    }
    location
        .map(|place| Place { file: place.file(), line: place.line(), column: place.column() })
        .serialize(serializer)
}

/// As text: a JSON number holds 53 bits in many readers.
pub(crate) fn hex<S: Serializer>(address: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}
