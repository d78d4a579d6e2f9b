//! One boot: starts the emulator, shows what the programs print, and waits for the guest's report.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{BadEnd, Failure};
use super::init::{self, Report};
use super::kernel::Kernel;
use super::options::{Clock, Options};
use super::scratch::Scratch;
use crate::process;

const CPUS_DEFAULT: u32 = 2;
const MEMORY_MIB_DEFAULT: u64 = 2048;
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const CONSOLE_LINES_SHOWN: usize = 60;

/// Gets the lines that programs print.
pub(super) type Reader<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Boots the kernel with the archive as its file system, and passes on what the programs print, as it comes. The programs' exit
/// statuses, in their order.
///
/// # Errors
/// The emulator cannot be run, or the guest panics, stops early or hangs.
pub(super) fn boot(
    kernel: &Kernel,
    archive: &Path,
    archive_bytes: u64,
    options: &Options,
    scratch: &Scratch,
    read: Reader<'_>,
) -> Result<Vec<u8>, Failure> {
    let (console, report) = (scratch.path().join("console"), scratch.path().join("report"));
    let mut emulator = emulator(options, archive_bytes);
    emulator.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(archive);
    // A guest that reboots, as it does at once when it panics, ends the emulator.
    emulator.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic", "-no-reboot"]);
    for (id, path) in [("console", &console), ("report", &report)] {
        fs::write(path, "").map_err(Failure::file("create", path))?;
        emulator.args(["-chardev", &format!("file,id={id},path={}", option_value(path))]);
    }
    emulator.args(["-chardev", "stdio,id=output,signal=off"]);
    emulator.args(["-serial", "chardev:console", "-serial", "chardev:output", "-serial", "chardev:report"]);
    let not_run = |source| process::Failure::NotRun { line: "qemu-system-x86_64".to_owned(), source };
    let mut child = emulator.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(not_run)?;
    let pipe = child.stdout.take();
    let (ended, passed_on) = thread::scope(|scope| {
        let reader = scope.spawn(|| pipe.map_or(Ok(()), |pipe| pass_on(pipe, io::stdout().lock(), read)));
        let ended = wait(&mut child, &report, options.timeout);
        (ended, reader.join().unwrap_or_else(|_panic| Err(io::Error::other("the reader panicked"))))
    });
    let said = ended?;
    passed_on.map_err(not_run)?;
    let end = match (said, child.wait().map_err(not_run)?) {
        (Ended::ByItself(report), _) if report.is_done => return Ok(report.statuses),
        (Ended::ByItself(_), status) if !status.success() => {
            return Err(process::Failure::Ended { line: "qemu-system-x86_64".to_owned(), status }.into());
        }
        (Ended::ByItself(_), _) => None,
        (Ended::Stopped, _) => Some(BadEnd::Hung(options.timeout)),
    };
    let console =
        String::from_utf8_lossy(&fs::read(&console).map_err(Failure::file("read", &console))?).into_owned();
    let end = end.unwrap_or(if has_panicked(&console) { BadEnd::Panicked } else { BadEnd::Stopped });
    Err(Failure::Guest { end, console: tail(&console) })
}

/// The emulator with its machine. It does not outlive this process.
fn emulator(options: &Options, archive_bytes: u64) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config"]);
    command.args(["-display", "none"]);
    match options.clock {
        Clock::Time => {
            let cpus = options.cpus.unwrap_or(CPUS_DEFAULT).to_string();
            command.args(["-accel", "tcg,thread=multi", "-smp", &cpus, "-cpu", "max"]);
        }
        // Without ERMS and FSRM, copies are loops of ordinary stores and not one instruction per byte.
        Clock::Instructions => {
            command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]);
            command.args(["-smp", "1", "-cpu", "max,-erms,-fsrm"]);
        }
    }
    let memory_mib = options.memory_mib.unwrap_or_else(|| memory_mib(archive_bytes));
    command.args(["-m", &memory_mib.to_string()]);
    command
}

/// The archive is in memory twice while it is unpacked, and files may fill half of all memory.
fn memory_mib(archive_bytes: u64) -> u64 {
    MEMORY_MIB_DEFAULT.max(1024 + 3 * archive_bytes.div_ceil(1 << 20))
}

/// A value among an option's, where a comma must be doubled.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[derive(Debug)]
enum Ended {
    ByItself(Report),
    /// Too late.
    Stopped,
}

/// Waits for the emulator's end. Each program that ends gives the next one its time.
fn wait(child: &mut Child, report: &Path, timeout: Duration) -> Result<Ended, Failure> {
    let read = || fs::read_to_string(report).map_err(Failure::file("read", report));
    let not_run = |source| process::Failure::NotRun { line: "qemu-system-x86_64".to_owned(), source };
    let (mut start, mut programs_ended) = (Instant::now(), 0);
    loop {
        let ended = child.try_wait().map_err(not_run)?;
        let said = init::report(&read()?);
        if ended.is_some() {
            return Ok(Ended::ByItself(said));
        }
        if said.statuses.len() > programs_ended {
            (start, programs_ended) = (Instant::now(), said.statuses.len());
        }
        if start.elapsed() >= timeout {
            child.kill().map_err(not_run)?;
            return Ok(Ended::Stopped);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Shows bytes as they come, and hands on each line when it is whole; the last one even if it is not.
fn pass_on(mut from: impl Read, mut out: impl Write, read: Reader<'_>) -> io::Result<()> {
    let (mut chunk, mut line) = (vec![0; 1 << 16], Vec::new());
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        out.write_all(&chunk[..length])?;
        out.flush()?;
        for part in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                read(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        read(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

fn has_panicked(console: &str) -> bool {
    console.contains("Kernel panic")
}

/// The last lines, without what would move the cursor.
fn tail(console: &str) -> String {
    let printable = |line: &str| -> String {
        line.chars().filter(|character| !character.is_control() || *character == '\t').collect()
    };
    let lines: Vec<String> = console.lines().map(printable).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(CONSOLE_LINES_SHOWN);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_archive() {
        assert_eq!(memory_mib(1 << 20), MEMORY_MIB_DEFAULT);
        assert_eq!(memory_mib(1000 << 20), 4024);
    }

    #[test]
    fn lines_that_come_in_parts_are_whole() {
        struct Parts(Vec<&'static [u8]>);
        impl Read for Parts {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() {
                    return Ok(0);
                }
                let part = self.0.remove(0);
                buffer[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
        }
        let (mut shown, mut lines) = (Vec::new(), Vec::new());
        let parts = Parts(vec![b"one\ntw", b"o", b"\n\xff", b" end"]);
        pass_on(parts, &mut shown, &mut |line: &str| lines.push(line.to_owned())).unwrap();
        assert_eq!(shown, b"one\ntwo\n\xff end");
        assert_eq!(lines, ["one\n", "two\n", "\u{fffd} end"]);
    }

    #[test]
    fn the_tail_is_short_and_plain() {
        let long: String = (0..100).map(|number| format!("line {number}\r\n")).collect();
        let shown = tail(&(long + "\x1b[2J\n\x07\n"));
        assert_eq!(shown.lines().count(), CONSOLE_LINES_SHOWN);
        assert!(shown.ends_with("    line 99\n    [2J\n"));
        assert!(has_panicked("[    1.0] Kernel panic - not syncing: x") && !has_panicked("panic=-1"));
    }

    #[test]
    fn counting_takes_one_cpu_without_fast_copies() {
        let line = |options: &Options| {
            let words = emulator(options, 0);
            words.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let counting = Options { clock: Clock::Instructions, ..Options::default() };
        assert!(line(&counting).contains("-icount shift=0,sleep=off -smp 1 -cpu max,-erms,-fsrm -m 2048"));
        assert!(line(&Options::default()).contains("tcg,thread=multi -smp 2 -cpu max -m 2048"));
        assert_eq!(option_value(Path::new("/a,b")), "/a,,b");
    }
}
