//! Child processes: a command that can be shown, run, and run with its output both shown and read.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// A command that did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be started, or its output could not be read.
    NotRun {
        /// The command line.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and ended badly.
    Ended {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { line, source } => write!(f, "run `{line}`: {source}"),
            Self::Ended { line, status } => write!(f, "`{line}` ended with {status}"),
        }
    }
}

/// The cargo that started this program, else the one in `PATH`, with the workspace as its folder.
pub(crate) fn cargo(workspace: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(workspace).args(arguments);
    command
}

/// Shows the command line, then runs it with this program's own input and output.
///
/// # Errors
/// It cannot be started, or it ends with anything but 0.
pub(crate) fn run(mut command: Command) -> Result<(), Failure> {
    let line = line_of(&command);
    announce(&line);
    let status = command.status().map_err(|source| Failure::NotRun { line: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { line, status }) }
}

/// As [`run`], with the command line and its output on standard error.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_on_stderr(mut command: Command) -> Result<(), Failure> {
    let line = line_of(&command);
    eprintln!("$ {line}");
    let status = command.stdout(io::stderr()).status();
    let status = status.map_err(|source| Failure::NotRun { line: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { line, status }) }
}

/// As [`run`], with every line of its standard output given to `read` after it has been shown.
///
/// # Errors
/// It cannot be started or read, or it ends with anything but 0. `read` has then had the lines there were.
pub(crate) fn run_and_read(mut command: Command, mut read: impl FnMut(&str)) -> Result<(), Failure> {
    let line = line_of(&command);
    announce(&line);
    let failed = |source| Failure::NotRun { line: line.clone(), source };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(pipe) = child.stdout.take() {
        pass_on(BufReader::new(pipe), io::stdout().lock(), &mut read).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Failure::Ended { line, status }) }
}

/// Runs it without showing the command line. Its standard output.
///
/// # Errors
/// It cannot be started, or it ends with anything but 0.
pub(crate) fn output(mut command: Command) -> Result<String, Failure> {
    let line = line_of(&command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| Failure::NotRun { line: line.clone(), source })?;
    let status = output.status;
    if !status.success() {
        return Err(Failure::Ended { line, status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it can be started and ends with 0. Its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn pass_on(mut from: impl BufRead, mut out: impl Write, read: &mut impl FnMut(&str)) -> io::Result<()> {
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes)? > 0 {
        out.write_all(&bytes)?;
        out.flush()?;
        read(&String::from_utf8_lossy(&bytes));
        bytes.clear();
    }
    Ok(())
}

fn announce(line: &str) {
    println!("$ {line}");
}

/// The command as one would type it: the program's file name, then its arguments.
fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    command.get_args().fold(name.into_owned(), |line, argument| line + " " + &argument.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_end_names_the_command() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]);
        let failure = run(command).unwrap_err().to_string();
        assert_eq!(failure, "`sh -c exit 3` ended with exit status: 3");
        assert!(run(Command::new("/nowhere/at-all")).unwrap_err().to_string().starts_with("run `at-all`"));
    }

    #[test]
    fn output_is_that_of_a_command_that_ended_well() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            output(command)
        };
        assert_eq!(shell("echo one").unwrap(), "one\n");
        assert_eq!(
            shell("echo two; exit 3").unwrap_err().to_string(),
            "`sh -c echo two; exit 3` ended with exit status: 3"
        );
    }

    #[test]
    fn what_is_read_is_also_shown_unchanged() {
        let (mut lines, mut shown) = (Vec::new(), Vec::new());
        let bytes: &[u8] = b"one\ntwo\xff";
        pass_on(bytes, &mut shown, &mut |line: &str| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one\n", "two\u{fffd}"]);
        assert_eq!(shown, bytes);
    }

    #[test]
    fn a_command_whose_output_is_read_can_fail() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 1"]);
        assert!(run_and_read(command, |_| ()).is_err());
    }
}
