//! `cargo xtask guest test`: the suites that need protection keys, all in one boot per kernel.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::kernel::Series;
use super::options::Options;
use super::{Wanted, boot_programs, check_system};
use crate::needs::Install;
use crate::process::{self, cargo};
use crate::test::count::{Counter, Counts};

/// What cargo is asked to build: a package and which of its targets.
const SUITES: &[(&str, &[&str])] = &[("ringfence", &["--test", "mpk"])];

/// Examples that have to end well in a guest: a package, an example of it and its arguments. They are left out when arguments
/// select tests.
const EXAMPLES: &[(&str, &str, &[&str])] = &[("ringfence", "quickstart", &["--backend", "mpk"])];

/// What one or more runs came to.
#[derive(Debug)]
pub(crate) struct Tested {
    pub(crate) counts: Counts,
    /// What went wrong, kernel by kernel.
    pub(crate) result: Result<(), Failure>,
}

/// Builds the suites and runs them on each of the kernels, where a test that is not run is one that failed.
pub(crate) fn test(
    workspace: &Path,
    install: Install,
    series: &[Series],
    options: &Options,
    arguments: &[String],
) -> Tested {
    let mut tested = Tested { counts: Counts::default(), result: Ok(()) };
    let programs = match check_system(workspace, install).and_then(|()| build(workspace, arguments)) {
        Ok(programs) => programs,
        Err(failure) => {
            // What does not build has not passed, and what is not covered has not failed.
            tested.counts.failed = u64::from(!matches!(failure, Failure::System(_)));
            return Tested { result: Err(failure), ..tested };
        }
    };
    let mut failures = Vec::new();
    for series in series {
        println!("\nkernel {}", series.name());
        let (counts, result) = test_on(workspace, install, *series, options, &programs);
        println!("kernel {}: {counts}", series.name());
        tested.counts += counts;
        failures.extend(result.err().map(|failure| (series.name(), failure)));
    }
    if !failures.is_empty() {
        tested.result = Err(Failure::Kernels(failures));
    }
    tested
}

fn test_on(
    workspace: &Path,
    install: Install,
    series: Series,
    options: &Options,
    programs: &[Wanted],
) -> (Counts, Result<(), Failure>) {
    let mut counter = Counter::default();
    let statuses =
        boot_programs(workspace, series, options, install, programs, &mut |line| counter.line(line));
    let result = statuses.and_then(|statuses| check(programs, &statuses, &counter));
    let mut counts = counter.counts();
    if result.is_err() && counts.failed == 0 {
        counts.failed = 1;
    }
    (counts, result)
}

fn check(programs: &[Wanted], statuses: &[u8], counter: &Counter) -> Result<(), Failure> {
    for (index, wanted) in programs.iter().enumerate() {
        match statuses.get(index) {
            Some(0) => {}
            Some(status) => return Err(Failure::Program { title: name_of(wanted), status: *status }),
            None => return Err(Failure::Unreported { title: name_of(wanted) }),
        }
    }
    counter.check().and_then(|()| counter.check_all_run()).map_err(Failure::Counts)
}

fn name_of(wanted: &Wanted) -> String {
    wanted.title.clone().unwrap_or_else(|| wanted.file.display().to_string())
}

fn build(workspace: &Path, arguments: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut programs = Vec::new();
    for (package, targets) in SUITES {
        let built = build_some(workspace, &["test", "--no-run"], package, targets, Kind::Test)?;
        programs.extend(built.into_iter().map(|(target, file)| Wanted {
            file,
            arguments: arguments.to_vec(),
            title: Some(format!("{target} of {package}")),
        }));
    }
    for (package, example, with) in EXAMPLES.iter().filter(|_| arguments.is_empty()) {
        let built = build_some(workspace, &["build"], package, &["--example", example], Kind::Example)?;
        programs.extend(built.into_iter().map(|(target, file)| Wanted {
            file,
            arguments: with.iter().map(|&argument| argument.to_owned()).collect(),
            title: Some(format!("example {target} of {package}")),
        }));
    }
    Ok(programs)
}

/// Builds targets of a package: the name and the file of each program.
fn build_some(
    workspace: &Path,
    how: &[&str],
    package: &str,
    targets: &[&str],
    kind: Kind,
) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut command = cargo(workspace, how);
    command
        .args(["--locked", "--package", package])
        .args(targets)
        .arg("--message-format=json-render-diagnostics");
    let messages = process::output(command)?;
    let built: Vec<_> = messages.lines().filter_map(|message| program(message, kind)).collect();
    if built.is_empty() {
        let command = format!("cargo {} --package {package} {}", how.join(" "), targets.join(" "));
        return Err(Failure::Unsaid { command, wanted: "program" });
    }
    Ok(built)
}

/// Which of the programs cargo speaks of are meant.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Test,
    Example,
}

/// The target and the file of a message about a program of this kind that was built.
fn program(message: &str, kind: Kind) -> Option<(String, PathBuf)> {
    let (_, target) = message.split_once(r#""target":{"#)?;
    let (target, profile) = target.split_once(r#""profile":{"#)?;
    let (profile, _) = profile.split_once('}')?;
    let is_meant = match kind {
        Kind::Test => profile.contains(r#""test":true"#),
        Kind::Example => target.contains(r#""kind":["example"]"#),
    };
    is_meant.then_some(())?;
    Some((text_of(target, "name")?, PathBuf::from(text_of(message, "executable")?)))
}

/// The text that is the value of the first such key. No text contains a key with its quotes: inside a text they are escaped.
fn text_of(json: &str, key: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!(r#""{key}":""#))?;
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            // Cargo's paths have no other escapes, unless they have control characters.
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\' | '/'))?),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w#ringfence@0.1.0","manifest_path":"/w/Cargo.toml","target":{"kind":["test"],"crate_types":["bin"],"name":"mpk","src_path":"/w/tests/mpk.rs","edition":"2024","doc":false,"doctest":false,"test":true},"profile":{"opt_level":"0","debuginfo":2,"debug_assertions":true,"overflow_checks":true,"test":true},"features":[],"filenames":["/w/target/debug/deps/mpk-1"],"executable":"/w/a \"b\" \\c/mpk-1","fresh":true}"#;

    #[test]
    fn programs_are_found_with_their_targets() {
        let expected = Some(("mpk".to_owned(), PathBuf::from(r#"/w/a "b" \c/mpk-1"#)));
        assert_eq!(program(MESSAGE, Kind::Test), expected);
        assert_eq!(program(MESSAGE, Kind::Example), None);
        let example = MESSAGE.replace(r#""kind":["test"]"#, r#""kind":["example"]"#);
        assert_eq!(program(&example, Kind::Example), expected);
    }

    #[test]
    fn other_messages_name_no_program() {
        let library = MESSAGE.replace(r#""/w/a \"b\" \\c/mpk-1""#, "null");
        let plain = MESSAGE.replace(r#"true,"test":true},"features"#, r#"true,"test":false},"features"#);
        let finished = r#"{"reason":"build-finished","success":true}"#;
        assert_ne!(plain, MESSAGE);
        for message in [&library, &plain, finished, ""] {
            assert_eq!(program(message, Kind::Test), None, "{message}");
        }
    }

    #[test]
    fn a_bad_end_and_a_missing_one_are_failures() {
        let wanted = |name: &str| Wanted {
            file: PathBuf::from(name),
            arguments: Vec::new(),
            title: Some(name.to_owned()),
        };
        let programs = [wanted("one"), wanted("two")];
        let mut counter = Counter::default();
        counter.line("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert!(check(&programs, &[0, 0], &counter).is_ok());
        let message = |statuses: &[u8]| check(&programs, statuses, &counter).unwrap_err().to_string();
        assert_eq!(message(&[0, 101]), "`two` ended with status 101");
        assert_eq!(message(&[0]), "`two` did not end");
        counter.line("4 tests not run: no keys");
        assert_eq!(
            check(&programs, &[0, 0], &counter).unwrap_err().to_string(),
            "4 tests not run where every test runs: no keys"
        );
    }
}
