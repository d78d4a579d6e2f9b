//! The JSON file: it fits its schema, says what the snapshot says, and is replaced whole or not at all.

mod support;

use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, process};

use ringfence_passport::{
    AllocationSource, Crossing, ErrorKind, Evidence, LibcHookInfo, Operation, Outcome, PassportEventType,
    PassportStatus, Region, RiskAssessment, RiskLevel, SCHEMA_VERSION, Side, Snapshot, StackFrame, Tracker,
};
use serde_json::Value;

const SCHEMA: &str = include_str!("../schema/memory_passports.schema.json");

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-passport-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn file_names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A tracker that has recorded one of everything.
fn busy_tracker() -> Tracker {
    let tracker = Tracker::new();
    let stack: Arc<[StackFrame]> = Arc::new([StackFrame {
        instruction_ptr: 0x40_1000,
        function: Some("main".to_owned()),
        file: None,
        line: Some(3),
    }]);
    let sources = [
        AllocationSource::RustSafe,
        AllocationSource::UnsafeRust {
            unsafe_block_location: Some(Location::caller()),
            call_stack: Some(Arc::clone(&stack)),
            risk_assessment: Some(RiskAssessment {
                risk_level: RiskLevel::High,
                reason: Cow::Borrowed("raw \"pointer\"\n"),
            }),
        },
        AllocationSource::FfiC {
            resolved_function: Some(Cow::Borrowed("make")),
            call_stack: None,
            libc_hook_info: Some(LibcHookInfo {
                original_function: "malloc",
                requested_size_bytes: Some(10),
                actual_size_bytes: None,
            }),
        },
        AllocationSource::CrossBoundary {
            from: Side::Foreign,
            to: Side::Rust,
            transfer_timestamp: None,
            transfer_metadata: None,
        },
    ];
    for (number, source) in sources.into_iter().enumerate() {
        let id = tracker.create_passport_from(source, number * 64, 64, Some("[u8; 64]"), Some("block"));
        for event in PassportEventType::ALL {
            let recorded = tracker.record_event(id, event, Evidence::Inferred, "said");
            assert!(recorded.is_ok());
        }
    }
    let region = Region { address: usize::MAX, bytes: 8, type_name: "u64" };
    let outcomes = [
        Some(Outcome::Returned { reply: Some(region) }),
        Some(Outcome::Faulted { kind: "abort" }),
        Some(Outcome::Refused),
        None,
    ];
    for (outcome, arguments) in
        outcomes.into_iter().flat_map(|outcome| [(outcome, None), (outcome, Some(region))])
    {
        let crossing = Crossing {
            backend: "process",
            operation: Operation::Session,
            isolate: u64::MAX,
            arguments,
            location: Location::caller(),
        };
        let id = tracker.enter(crossing);
        if let Some(outcome) = outcome {
            tracker.leave(id, outcome);
        }
    }
    tracker
}

fn json_of(snapshot: &Snapshot) -> Value {
    let mut bytes = Vec::new();
    let written = snapshot.write_memory_passports(&mut bytes);
    assert!(written.is_ok());
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap_or_default()
}

#[test]
fn exports_fit_the_schema() {
    for tracker in [busy_tracker(), Tracker::new(), Tracker::disabled()] {
        let found = support::mismatches(&schema(), &json_of(&tracker.snapshot()));
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn the_check_sees_what_is_wrong() {
    type Edit = fn(&mut Value);
    let edits: [Edit; 8] = [
        |document| document["schema_version"] = "0.9".into(),
        |document| document["surprise"] = 1.into(),
        |document| drop(document["tracker"].as_object_mut().map(|tracker| tracker.remove("process_id"))),
        |document| document["dropped"]["events"] = (-1).into(),
        |document| document["memory_passports"][0]["allocation_ptr"] = "12".into(),
        |document| document["memory_passports"][0]["status_at_shutdown"] = "HandoverToFfi".into(),
        |document| document["memory_passports"][0]["source"]["kind"] = "Elsewhere".into(),
        |document| document["events"][0]["event_type"] = "Invented".into(),
    ];
    let document = json_of(&busy_tracker().snapshot());
    for (number, edit) in edits.into_iter().enumerate() {
        let mut broken = document.clone();
        edit(&mut broken);
        assert!(!support::mismatches(&schema(), &broken).is_empty(), "edit {number}");
    }
}

#[test]
fn the_schema_has_the_vocabulary_of_the_code() {
    let names = |pointer: &str| schema().pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(names("/properties/schema_version/const"), SCHEMA_VERSION);
    let events = serde_json::to_value(PassportEventType::ALL).unwrap();
    assert_eq!(names("/$defs/event_type/enum"), events);
    let statuses = serde_json::to_value(PassportStatus::ALL).unwrap();
    assert_eq!(names("/$defs/status/enum"), statuses);
}

#[test]
fn every_event_is_written_once() {
    let snapshot = busy_tracker().snapshot();
    let document = json_of(&snapshot);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let in_passports =
        list(&document["memory_passports"]).iter().flat_map(|p| list(&p["lifecycle_events"])).collect();
    let mut sequences: Vec<_> = [in_passports, list(&document["events"])]
        .into_iter()
        .flat_map(|events: Vec<Value>| events)
        .filter_map(|event| event["sequence"].as_u64())
        .collect();
    sequences.sort_unstable();
    assert!(snapshot.events().map(|event| event.sequence).eq(sequences));
    assert_eq!(document["recorded"]["events"], snapshot.recorded().events);
}

#[test]
fn the_file_is_replaced_whole() {
    let scratch = Scratch::new("replaced");
    let directory = scratch.0.join("made/for/it");
    let path = Tracker::new().export_json(&directory).unwrap();
    assert_eq!(path, directory.join("memory_passports.json"));
    let old = fs::File::open(&path).unwrap();
    let snapshot = busy_tracker().snapshot();
    snapshot.export_json(&directory).unwrap();
    let seen_by_a_reader: Value = serde_json::from_reader(old).unwrap();
    assert_eq!(seen_by_a_reader["recorded"]["events"], 0);
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, json_of(&snapshot));
    let scratch = Scratch(directory);
    assert_eq!(scratch.file_names(), ["memory_passports.json"]);
}

#[test]
fn a_failed_export_leaves_the_target_as_it_was() {
    let scratch = Scratch::new("failed");
    let target = scratch.0.join("memory_passports.json");
    fs::create_dir_all(target.join("in the way")).unwrap();
    let error = busy_tracker().export_json(&scratch.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(scratch.file_names(), ["memory_passports.json"]);
    assert!(target.join("in the way").is_dir());
}

#[test]
fn a_writer_that_fails_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = Tracker::new().snapshot().write_memory_passports(Full).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Write);
}

#[test]
fn a_guard_exports_what_was_recorded_after_it_was_made() {
    let scratch = Scratch::new("guard");
    let tracker = Tracker::new();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = tracker.export_on_drop(&scratch.0);
        tracker.create_passport(0x1000, 64, None, None);
        std::panic::resume_unwind(Box::new("the scope ends"));
    }));
    assert!(unwound.is_err());
    let bytes = fs::read(scratch.0.join("memory_passports.json")).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["memory_passports"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_finished_guard_hands_out_the_outcome() {
    let scratch = Scratch::new("finish");
    let path = Tracker::new().export_on_drop(&scratch.0).finish().unwrap();
    assert!(path.is_file());
    fs::write(scratch.0.join("file"), "").unwrap();
    let error = Tracker::new().export_on_drop(scratch.0.join("file")).finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}
