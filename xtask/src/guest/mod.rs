//! `cargo xtask guest`: runs programs in an emulated machine that has protection keys, on Debian's kernels.

mod boot;
mod failure;
mod init;
mod kernel;
mod libraries;
mod options;
mod pack;
mod scratch;
mod suites;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::boot::Reader;
pub(crate) use self::failure::Failure;
use self::init::{Program, Variable};
use self::kernel::Series;
use self::options::{Options, Request};
use self::pack::Files;
use self::scratch::Scratch;
pub(crate) use self::suites::Tested;
use crate::needs::{self, Install};
use crate::system;

/// What the exit status of `guest run` is when there is none to pass on.
const STATUS_WITHOUT_RESULT: u8 = 125;

/// Variables that programs get if they are set here.
const VARIABLES_PASSED_ON: &[&str] =
    &["REQUIRE_MPK", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE", "RUST_TEST_THREADS"];

/// Variables that programs always have.
const VARIABLES_SET: &[(&str, &str)] =
    &[("HOME", "/root"), ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"), ("TMPDIR", "/tmp")];

/// In a suite's environment: a machine without protection keys is a failure.
const REQUIRE_KEYS: &str = "REQUIRE_MPK=1";

/// Does what the arguments ask for.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let request = match options::parse(arguments) {
        Ok(request) => request,
        Err(what) => return crate::usage_error(&what),
    };
    let workspace = match crate::root::workspace() {
        Ok(workspace) => workspace,
        Err(error) => return crate::usage_error(&error.to_string()),
    };
    let status = match request {
        Request::Run { series, options, program, arguments } => {
            run(&workspace, series, &options, &program, arguments)
        }
        Request::Test { series, mut options, arguments } => {
            options.variables.push(REQUIRE_KEYS.to_owned());
            let tested = suites::test(&workspace, Install::Allowed, &series, &options, &arguments);
            if let Err(failure) = &tested.result {
                eprintln!("xtask: {failure}");
            }
            println!("{} passed, {} failed", tested.counts.passed, tested.counts.failed);
            return if tested.result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(STATUS_WITHOUT_RESULT)
        }
    }
}

fn run(
    workspace: &Path,
    series: Series,
    options: &Options,
    program: &str,
    arguments: Vec<String>,
) -> Result<u8, Failure> {
    check_system(workspace, Install::Allowed)?;
    let program = Wanted { file: PathBuf::from(program), arguments, title: None };
    let statuses = boot_programs(workspace, series, options, Install::Allowed, &[program], &mut |_line| ())?;
    Ok(statuses.first().copied().unwrap_or(STATUS_WITHOUT_RESULT))
}

/// The suites on every kernel, as a stage of `cargo xtask test`.
pub(crate) fn test_all(workspace: &Path, install: Install) -> Tested {
    let options = Options { variables: vec![REQUIRE_KEYS.to_owned()], ..Options::default() };
    suites::test(workspace, install, Series::ALL, &options, &[])
}

/// Guests need Debian's kernels and the tools that pack and boot them.
fn check_system(workspace: &Path, install: Install) -> Result<(), Failure> {
    if let Some(other) = system::other_than_debian_12() {
        return Err(Failure::System(other));
    }
    needs::check_guest(workspace, install).map_err(Failure::Needs)
}

/// A program of this machine that is to run in a guest.
#[derive(Debug)]
struct Wanted {
    file: PathBuf,
    arguments: Vec<String>,
    /// What it is called, if that is printed before it runs.
    title: Option<String>,
}

/// Packs the programs, boots once and gives back how each of them ended.
fn boot_programs(
    workspace: &Path,
    series: Series,
    options: &Options,
    install: Install,
    wanted: &[Wanted],
    read: Reader<'_>,
) -> Result<Vec<u8>, Failure> {
    let guest = target_folder(workspace).join("guest");
    let kernel = kernel::get(&guest, series, install)?;
    let busybox = needs::program("busybox").unwrap_or_else(|| PathBuf::from("busybox"));
    let mut files = Files::new(&busybox)?;
    let mut programs = Vec::new();
    for program in wanted {
        let path = files.add_program(&program.file)?;
        let (arguments, title) = (program.arguments.clone(), program.title.clone());
        programs.push(Program { path, arguments, title });
    }
    for named in &options.files {
        files.add_named(named)?;
    }
    let variables = variables(&options.variables, |name| env::var(name).ok())?;
    let scratch = Scratch::new(&guest)?;
    let archive = scratch.path().join("archive");
    let archive_bytes = files.write(&programs, &variables, &scratch, &archive)?;
    eprintln!(
        "xtask: guest with kernel {}, {} MiB of files",
        kernel.version,
        archive_bytes.div_ceil(1 << 20)
    );
    boot::boot(&kernel, &archive, archive_bytes, options, &scratch, read)
}

/// Where cargo puts what it builds.
fn target_folder(workspace: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |folder| workspace.join(folder))
}

/// The variables that programs get: those that are always set, those passed on, and those named, the last one of a name winning.
fn variables(named: &[String], value_of: impl Fn(&str) -> Option<String>) -> Result<Vec<Variable>, Failure> {
    let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut variables: Vec<Variable> = VARIABLES_SET.iter().map(|(name, value)| owned(name, value)).collect();
    for name in VARIABLES_PASSED_ON {
        variables.extend(value_of(name).map(|value| owned(name, &value)));
    }
    for named in named {
        variables.push(match named.split_once('=') {
            Some((name, value)) => owned(name, value),
            None => owned(named, &value_of(named).ok_or_else(|| Failure::Unset(named.clone()))?),
        });
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_passed_on_and_named() {
        let value_of = |name: &str| match name {
            "RUST_BACKTRACE" => Some("1".to_owned()),
            "MINE" => Some("a=b".to_owned()),
            _ => None,
        };
        let named = ["MINE".to_owned(), "HOME=/x".to_owned(), "EMPTY=".to_owned()];
        let variables = variables(&named, value_of).unwrap();
        let last =
            |name: &str| variables.iter().rfind(|(other, _)| other == name).map(|(_, value)| value.as_str());
        assert_eq!(last("RUST_BACKTRACE"), Some("1"));
        assert_eq!(last("MINE"), Some("a=b"));
        assert_eq!(last("HOME"), Some("/x"));
        assert_eq!(last("EMPTY"), Some(""));
        assert_eq!(last("REQUIRE_MPK"), None);
        assert_eq!(
            super::variables(&["NOT_SET".to_owned()], value_of).unwrap_err().to_string(),
            "pass NOT_SET on: it is not set"
        );
    }
}
