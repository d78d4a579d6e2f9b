//! What the guest's first process does, as a shell script; and what it says of it.
//!
//! The guest has three serial ports. The kernel's console is the first; the programs' output goes to the second and nothing
//! else does; the third carries one line for each program that ended and a last one at the end. No program is given the third.

use std::fmt::Write;
use std::path::PathBuf;

/// A program, at its place in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// What it is called, if that is printed before it runs.
    pub(super) title: Option<String>,
}

/// An environment variable and its value.
pub(super) type Variable = (String, String);

/// Where busybox lies in the guest.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// The folders that the script needs before it has made any.
pub(super) const FOLDERS: &[&str] = &["/bin", "/dev", "/proc", "/sys", "/tmp"];

const LAST_LINE: &str = "done";

/// The folder programs start in is /tmp. Like everything in the guest that is no device, it is in memory.
const BEGIN: &str = r"#!/bin/busybox sh
set -- /bin/busybox
$1 mount -t proc proc /proc
$1 mount -t sysfs sys /sys
$1 mount -t devtmpfs dev /dev
$1 mkdir -p /dev/pts /dev/shm /usr/bin /usr/sbin /sbin /etc /root
$1 mount -t devpts devpts /dev/pts
$1 mount -t tmpfs -o mode=1777 shm /dev/shm
$1 ln -s /proc/self/fd /dev/fd
$1 chmod 1777 /tmp
$1 hostname guest
$1 --install -s
$1 stty -F /dev/ttyS1 raw -echo
$1 stty -F /dev/ttyS2 raw -echo
cd /tmp
";

/// The first `stty` returns when everything written before has left the guest. Each program is a session of its own, and what
/// it leaves behind goes with it.
const AFTER_EACH: &str = r#"status=$?
kill -9 -1
$1 stty -F /dev/ttyS1 raw -echo
echo "exit $status" >/dev/ttyS2
"#;

const END: &str = r"echo done >/dev/ttyS2
$1 stty -F /dev/ttyS2 raw -echo
$1 poweroff -f
";

/// The script that runs the programs in turn, each with exactly these variables.
pub(super) fn script(programs: &[Program], variables: &[Variable]) -> String {
    let mut script = BEGIN.to_owned();
    let environment: String =
        variables.iter().map(|(name, value)| format!(" {}", quoted(&format!("{name}={value}")))).collect();
    // Writing to a String cannot fail.
    for program in programs {
        if let Some(title) = &program.title {
            let _ = writeln!(script, "echo {} >/dev/ttyS1", quoted(&format!("     Running {title}")));
        }
        let path = quoted(&program.path.to_string_lossy());
        let arguments: String =
            program.arguments.iter().map(|argument| format!(" {}", quoted(argument))).collect();
        let _ = writeln!(
            script,
            "$1 env -i{environment} $1 setsid {path}{arguments} </dev/null >/dev/ttyS1 2>&1"
        );
        script += AFTER_EACH;
    }
    script + END
}

/// One word for the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What the third port has said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// How each program ended, in their order: its exit status, or 128 and the signal.
    pub(super) statuses: Vec<u8>,
    /// Whether the script came to its end.
    pub(super) is_done: bool,
}

/// Reads the report. A line that is not whole yet is left out.
pub(super) fn report(text: &str) -> Report {
    let mut report = Report::default();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let line = line.trim_end_matches('\r');
        if line == LAST_LINE {
            report.is_done = true;
        } else if let Some(status) = line.strip_prefix("exit ").and_then(|status| status.parse().ok()) {
            report.statuses.push(status);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_program_as_they_are() {
        let words = ["plain", "", "two words", "$HOME `x` \"y\"", "it's", "*\n;&"];
        for word in words {
            let shell = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output();
            assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), word);
        }
    }

    #[test]
    fn every_program_is_run_with_the_variables_and_reported() {
        let program = |name: &str, title: Option<&str>| Program {
            path: PathBuf::from(name),
            arguments: vec!["a b".to_owned()],
            title: title.map(str::to_owned),
        };
        let script = script(
            &[program("/one", None), program("/two", Some("second"))],
            &[("A".to_owned(), "1 2".to_owned())],
        );
        let runs: Vec<&str> = script.lines().filter(|line| line.contains("setsid")).collect();
        assert_eq!(runs[0], "$1 env -i 'A=1 2' $1 setsid '/one' 'a b' </dev/null >/dev/ttyS1 2>&1");
        assert_eq!(runs[1], "$1 env -i 'A=1 2' $1 setsid '/two' 'a b' </dev/null >/dev/ttyS1 2>&1");
        assert_eq!(script.matches("echo '     Running second' >/dev/ttyS1\n").count(), 1);
        assert_eq!(script.matches("exit $status").count(), 2);
        let shell = std::process::Command::new("sh").args(["-n", "-c", &script]).status().unwrap();
        assert!(shell.success());
    }

    #[test]
    fn a_report_is_read_line_by_line() {
        assert_eq!(report(""), Report::default());
        assert_eq!(report("exit 0\r\nexit 1"), Report { statuses: vec![0], is_done: false });
        assert_eq!(report("exit 0\nexit 137\ndone\n"), Report { statuses: vec![0, 137], is_done: true });
        assert_eq!(report("done"), Report::default());
        assert_eq!(report("exit 256\nexit\nx exit 1\n"), Report::default());
    }
}
