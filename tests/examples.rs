//! The examples do what they say, as programs of their own: what they print, what they leave behind and how they end. With the MPK backend
//! they run where there are protection keys, as a program of `cargo xtask guest test`.
//!
//! `cargo test` builds them beside this test; `cargo test --test examples` takes them as they were built last.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs an example with arguments, in a folder of the test's own.
fn run(example: &str, folder: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let test = env::current_exe().unwrap();
    // This test is in `deps`; examples are in the folder beside it.
    let program = test.ancestors().nth(2).unwrap().join("examples").join(example);
    assert!(program.exists(), "{} is not built: `cargo build --examples`", program.display());
    Command::new(program)
        .current_dir(folder)
        .args(arguments.iter().map(|argument| argument.as_ref()))
        .output()
        .unwrap()
}

/// An empty folder that no other test uses.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What it printed; it ended well and complained of nothing.
fn printed(output: &Output) -> &str {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert_eq!(err, "");
    out
}

/// It ended with status 1 and one line of complaint, which this is.
fn complaint(output: &Output) -> &str {
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(!err.contains("panicked"), "{err}");
    err.trim_end()
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
}

/// The passports that a run left in a folder.
fn passports(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("memory_passports.json")).unwrap()).unwrap()
}

fn faulted(passports: &Value) -> usize {
    let crossings = passports["crossings"].as_array().unwrap();
    crossings.iter().filter(|crossing| crossing["outcome"] == "Faulted").count()
}

#[test]
fn quickstart_compresses_survives_and_leaves_passports() {
    let folder = folder("quickstart");
    let output = run("quickstart", &folder, &[]);
    let out = printed(&output);
    assert_line(out, "backend: process");
    assert!(out.contains("(libsnappy, each the median of 9 calls, backend process)"), "{out}");
    assert_line(out, "bytes equal: yes");
    assert_line(out, "it was in: destroy_own_heap");
    let (_, backtrace) = out.split_once("backtrace:\n").unwrap();
    assert!(backtrace.contains(": destroy_own_heap\n"), "{out}");
    assert!(backtrace.contains("testkit/c/memory.c:"), "{out}");
    assert_line(out, "compressed once more: same result");
    assert_line(
        out,
        "memory passports: target/quickstart/memory_passports.json (crossings: 20, faults: 1, passports: 39, leaks: 0)",
    );
    let passports = passports(&folder.join("target/quickstart"));
    assert_eq!(passports["memory_passports"].as_array().unwrap().len(), 39);
    assert_eq!(faulted(&passports), 1);
}

#[test]
fn quickstart_leaves_the_crash_out_where_nothing_contains_it() {
    let folder = folder("direct");
    let output = run("quickstart", &folder, &[&"--backend", &"direct", &"--passports", &"here"]);
    let out = printed(&output);
    assert_line(out, "backend: direct");
    assert_line(out, "bytes equal: yes");
    assert_line(out, "this backend contains no faults, so the crash is left out");
    assert_eq!(faulted(&passports(&folder.join("here"))), 0);
}

/// What this machine cannot give is an error that names the reason, and nothing else is tried in its place.
#[test]
fn a_backend_that_is_not_there_has_a_status_of_its_own() {
    let folder = folder("mpk");
    for example in ["quickstart", "stateful"] {
        let output = run(example, &folder, &[&"--backend", &"mpk"]);
        let err = text(&output.stderr);
        match output.status.code() {
            // Where there are protection keys: SQLite writes variables of its own.
            Some(0) => assert_eq!(example, "quickstart"),
            Some(1) => assert!(err.starts_with("stateful: SQLite writes variables of its own"), "{err}"),
            Some(2) => {
                let start = format!("{example}: backend mpk is not available: ");
                let reason = err.strip_prefix(&start).unwrap_or_default().trim_end();
                assert!(!reason.is_empty() && reason.lines().count() == 1, "{err}");
                assert_eq!(text(&output.stdout), "");
            }
            other => panic!("{example} ended with {other:?}: {err}"),
        }
    }
}

#[test]
fn quickstart_takes_an_empty_file_and_a_large_one_that_cannot_shrink() {
    let folder = folder("files");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let large: Vec<u8> = noise.take((5 << 20) / 8).flatten().collect();
    for (name, bytes) in [("empty", Vec::new()), ("large", large)] {
        let file = folder.join(name);
        fs::write(&file, &bytes).unwrap();
        let output = run("quickstart", &folder, &[&file]);
        let out = printed(&output);
        assert!(out.contains(&format!("compress:   {} -> ", bytes.len())), "{out}");
        assert_line(out, "bytes equal: yes");
        assert_line(out, "compressed once more: same result");
    }
}

#[test]
fn quickstart_names_what_is_wrong_with_its_command_line() {
    let folder = folder("wrong");
    fs::write(folder.join("file"), "x").unwrap();
    let cases: [(&[&dyn AsRef<OsStr>], &str); 6] = [
        (&[&"missing"], "quickstart: read missing: No such file or directory (os error 2)"),
        (&[&"file", &"file"], "quickstart: more than one file; usage: "),
        (&[&"--frob"], "quickstart: unknown option --frob; usage: "),
        (&[&"--backend"], "quickstart: --backend needs a value; usage: "),
        (&[&"--backend", &"best"], "quickstart: backend must be "),
        (
            &[&"--passports", &"file/below"],
            "quickstart: create directory file/below: Not a directory (os error 20)",
        ),
    ];
    for (arguments, start) in cases {
        let output = run("quickstart", &folder, arguments);
        let complaint = complaint(&output);
        assert!(complaint.starts_with(start), "{complaint:?} should start with {start:?}");
    }
}

#[test]
fn stateful_loses_its_rows_with_the_session_and_nothing_else() {
    let output = run("stateful", &folder("stateful"), &[&"a=1", &"b=-7", &"a=20"]);
    let expected = "\
inserted 3 rows
  a              2 rows,     21 in all
  b              1 rows,     -7 in all

fault: killed by SIGSEGV (write at address 0x0) inside, after
next call: the session faulted earlier and its state is gone
after reset: no database is open

inserted 3 rows
  a              2 rows,     21 in all
  b              1 rows,     -7 in all

";
    // What follows holds a time.
    let out: String = printed(&output)
        .split_inclusive('\n')
        .map(|line| match line.split_once(", after ") {
            Some((before, _)) => format!("{before}, after\n"),
            None => line.to_owned(),
        })
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn stateful_leaves_the_crash_out_where_nothing_contains_it() {
    let output = run("stateful", &folder("stateful_direct"), &[&"a=1", &"--backend", &"direct", &"a=2"]);
    let expected = "\
inserted 2 rows
  a              2 rows,      3 in all

this backend contains no faults, so the crash is left out
";
    assert_eq!(printed(&output), expected);
}

#[test]
fn stateful_has_rows_of_its_own_and_refuses_what_is_no_row() {
    let folder = folder("rows");
    let output = run("stateful", &folder, &[]);
    assert_line(printed(&output), "  oil            2 rows,     65 in all");
    let output = run("stateful", &folder, &[&"oil"]);
    let usage = "usage: stateful [NAME=AMOUNT]… [--backend process|mpk|direct]";
    assert_eq!(complaint(&output), format!("stateful: oil: not a row; {usage}"));
    let output = run("stateful", &folder, &[&"--backend"]);
    assert_eq!(complaint(&output), format!("stateful: --backend needs a value; {usage}"));
}
