//! What the system must have before anything can be built or booted, and how it gets there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::process::{self, cargo};
use crate::system;

/// May missing packages be installed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    /// Yes, where that needs no password.
    Allowed,
    /// No.
    Forbidden,
}

/// How a need shows itself.
#[derive(Debug, Clone, Copy)]
enum Evidence {
    /// A program in `PATH`.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A cargo subcommand that runs. Rustup leaves a file of that name in `PATH` even where the component is missing.
    Subcommand(&'static str),
}

/// Where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A Debian package.
    Apt(&'static str),
    /// A component of the Rust toolchain.
    Rustup(&'static str),
}

/// One thing the system must have.
#[derive(Debug)]
struct Need {
    evidence: Evidence,
    origin: Origin,
    /// What it is for.
    reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        evidence: Evidence::Program("cc"),
        origin: Origin::Apt("gcc"),
        reason: "links, and compiles the C fixtures",
    },
    Need {
        evidence: Evidence::Program("c++"),
        origin: Origin::Apt("g++"),
        reason: "compiles the C++ fixtures and libsnappy",
    },
    Need {
        evidence: Evidence::File("/usr/include/stdlib.h"),
        origin: Origin::Apt("libc6-dev"),
        reason: "C headers",
    },
    Need {
        evidence: Evidence::Subcommand("fmt"),
        origin: Origin::Rustup("rustfmt"),
        reason: "checks the format",
    },
    Need {
        evidence: Evidence::Subcommand("clippy"),
        origin: Origin::Rustup("clippy"),
        reason: "checks the lints",
    },
];

/// What guests need besides.
const GUEST_NEEDS: &[Need] = &[
    Need {
        evidence: Evidence::Program("qemu-system-x86_64"),
        origin: Origin::Apt("qemu-system-x86"),
        reason: "emulates a machine that has protection keys",
    },
    Need {
        evidence: Evidence::Program("busybox"),
        origin: Origin::Apt("busybox-static"),
        reason: "is the guest's shell",
    },
    Need {
        evidence: Evidence::Program("cpio"),
        origin: Origin::Apt("cpio"),
        reason: "packs the guest's files",
    },
];

/// What is missing, and the line that installs it.
#[derive(Debug)]
pub(crate) struct Missing {
    names: Vec<String>,
    line: String,
    /// What installing it came to, where it was tried.
    tried: Option<process::Failure>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "missing: {}; install with: {}", self.names.join(", "), self.line)?;
        self.tried.as_ref().map_or(Ok(()), |failure| write!(f, " (tried: {failure})"))
    }
}

/// Names what every stage needs and is missing and, where allowed and possible without a password, installs it. Guests run on
/// Debian 12 only: elsewhere their needs are left out.
///
/// # Errors
/// Something is missing and could not, or may not, be installed.
pub(crate) fn check(workspace: &Path, install: Install) -> Result<(), Missing> {
    let guests = if system::other_than_debian_12().is_none() { GUEST_NEEDS } else { &[] };
    let needs: Vec<&'static Need> = NEEDS.iter().chain(guests).collect();
    let number = needs.len();
    if provide(workspace, needs, install)? == Provided::WasThere {
        println!("the system has all {number} things that are needed");
    }
    Ok(())
}

/// As [`check`], of what guests need, and silent where nothing is missing.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_guest(workspace: &Path, install: Install) -> Result<(), Missing> {
    provide(workspace, GUEST_NEEDS.iter().collect(), install).map(|_provided| ())
}

/// Has apt read anew which packages there are.
///
/// # Errors
/// It may not, needs a password for it, or fails.
pub(crate) fn update_lists(install: Install) -> Result<(), Missing> {
    let prefix = if install == Install::Allowed { privilege() } else { None };
    let tried = match prefix.map(|prefix| process::run_on_stderr(apt_get(prefix, &["update"]))) {
        Some(Ok(())) => return Ok(()),
        Some(Err(failure)) => Some(failure),
        None => None,
    };
    let names = vec!["lists of packages that are up to date".to_owned()];
    Err(Missing { names, line: "sudo apt-get update".to_owned(), tried })
}

#[derive(Debug, PartialEq, Eq)]
enum Provided {
    WasThere,
    Installed,
}

fn provide(workspace: &Path, needs: Vec<&'static Need>, install: Install) -> Result<Provided, Missing> {
    let is_missing = |need: &&Need| !is_there(workspace, need.evidence);
    let missing: Vec<_> = needs.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(Provided::WasThere);
    }
    for need in &missing {
        eprintln!("missing: {}, which {}", name_of(need), need.reason);
    }
    let mut tried = None;
    let prefix = if install == Install::Allowed { privilege() } else { None };
    if let Some(prefix) = prefix {
        tried = install_all(prefix, &missing).err();
        if tried.is_none() && !missing.iter().any(is_missing) {
            return Ok(Provided::Installed);
        }
    }
    let names = missing.iter().map(|need| name_of(need)).collect();
    Err(Missing { names, line: install_line(&missing), tried })
}

fn is_there(workspace: &Path, evidence: Evidence) -> bool {
    match evidence {
        Evidence::Program(name) => program(name).is_some(),
        Evidence::File(path) => Path::new(path).is_file(),
        Evidence::Subcommand(name) => process::succeeds(&mut cargo(workspace, &[name, "--version"])),
    }
}

/// The file that `name` would run.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn name_of(need: &Need) -> String {
    match need.evidence {
        Evidence::Program(name) | Evidence::File(name) => name.to_owned(),
        Evidence::Subcommand(name) => format!("cargo {name}"),
    }
}

/// What stands before a command that needs root: nothing for root, `sudo` where it asks for no password, else there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if effective_user(&status) == Some(0) {
        return Some(&[]);
    }
    process::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

/// The effective user of a `/proc/PID/status`.
fn effective_user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

fn packages(missing: &[&Need]) -> Vec<&'static str> {
    missing
        .iter()
        .filter_map(|need| match need.origin {
            Origin::Apt(package) => Some(package),
            Origin::Rustup(_) => None,
        })
        .collect()
}

fn components(missing: &[&Need]) -> Vec<&'static str> {
    missing
        .iter()
        .filter_map(|need| match need.origin {
            Origin::Rustup(component) => Some(component),
            Origin::Apt(_) => None,
        })
        .collect()
}

fn install_all(prefix: &[&str], missing: &[&Need]) -> Result<(), process::Failure> {
    let packages = packages(missing);
    if !packages.is_empty() {
        process::run_on_stderr(apt_get(prefix, &["update"]))?;
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(packages);
        process::run_on_stderr(apt_get(prefix, &arguments))?;
    }
    let components = components(missing);
    if !components.is_empty() {
        let mut command = Command::new("rustup");
        command.args(["component", "add"]).args(components);
        process::run(command)?;
    }
    Ok(())
}

fn apt_get(prefix: &[&str], arguments: &[&str]) -> Command {
    // Through env, since sudo does not hand variables on.
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    let mut line = prefix.iter().chain(&words).chain(arguments).copied();
    let mut command = Command::new(line.next().unwrap_or("apt-get"));
    command.args(line);
    command
}

/// The line a person would run.
fn install_line(missing: &[&Need]) -> String {
    let (packages, components) = (packages(missing), components(missing));
    let mut parts = Vec::new();
    if !packages.is_empty() {
        let packages = packages.join(" ");
        parts.push(format!(
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}"
        ));
    }
    if !components.is_empty() {
        parts.push(format!("rustup component add {}", components.join(" ")));
    }
    parts.join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_every_origin_once() {
        let all: Vec<&Need> = NEEDS.iter().chain(GUEST_NEEDS).collect();
        assert_eq!(
            install_line(&all),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc g++ libc6-dev \
             qemu-system-x86 busybox-static cpio && rustup component add rustfmt clippy"
        );
        assert_eq!(install_line(&all[3..4]), "rustup component add rustfmt");
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t1000\t1000\nGid:\t5\t5\t5\t5\n"), Some(0));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn what_is_not_there_is_missed() {
        let folder = Path::new("/");
        assert!(is_there(folder, Evidence::Program("sh")));
        assert!(!is_there(folder, Evidence::Program("no-such-program-at-all")));
        assert!(!is_there(folder, Evidence::File("/no/such/file")));
        assert!(!is_there(folder, Evidence::Subcommand("no-such-subcommand")));
    }

    #[test]
    fn sudo_gets_the_variable_through_env() {
        let command = apt_get(&["sudo", "-n"], &["update"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(command.get_program(), "sudo");
        assert_eq!(words, ["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "update"]);
    }
}
