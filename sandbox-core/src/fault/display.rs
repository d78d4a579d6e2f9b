//! A fault as text. What it quotes was chosen by the code inside, and may be out to deceive whoever reads it on a terminal.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Fault, FaultKind, syscall_name};

/// One line: what, how far the work had got, after what time, on which backend, and what a panic said. Control characters in it are
/// escaped.
///
/// The alternate form `{:#}` names the place on the first line, and adds on lines of their own the panic's message, the tail of
/// standard error, the backtrace and, where the processor or the kernel stopped the work, the registers. Newlines and tabs in it are
/// left as they are, other control characters are escaped.
///
/// # Cost
/// The alternate form gives names to addresses, which costs milliseconds. One line costs the writing of it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_what(f)?;
        self.write_where(f)?;
        write!(f, " {}", self.phase())?;
        if f.alternate()
            && let Some(culprit) = self.backtrace().culprit()
        {
            f.write_str(", in ")?;
            culprit.write_place(f)?;
        }
        write!(f, ", after {} (backend {})", Readable(self.elapsed()), self.backend())?;
        if f.alternate() {
            return self.write_details(f);
        }
        match self.message() {
            Some(message) => write!(f, ": {}", Harmless { text: message, lines: Lines::One }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self})")
    }
}

impl Fault {
    fn write_what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            FaultKind::Signal => match (self.signal_name(), self.signal()) {
                (Some(name), _) => write!(f, "killed by {name}"),
                (None, Some(number)) => write!(f, "killed by signal {number}"),
                (None, None) => f.write_str("killed by a signal"),
            },
            FaultKind::Exit { code } => write!(f, "exited with status {code}"),
            FaultKind::Syscall { number: Some(number) } => {
                write!(f, "denied system call {} ({number})", syscall_name(*number).unwrap_or("unknown"))
            }
            FaultKind::Syscall { number: None } => f.write_str("denied system call, number unknown,"),
            FaultKind::MalformedReply { error: Some(error) } => write!(f, "malformed reply ({error})"),
            FaultKind::Panic => f.write_str("panicked"),
            FaultKind::Abort => f.write_str("aborted"),
            FaultKind::Timeout => f.write_str("wall-time limit passed"),
            FaultKind::CpuLimit => f.write_str("cpu-time limit passed"),
            FaultKind::MemoryLimit => f.write_str("died at the memory limit"),
            FaultKind::ReplyLimit => f.write_str("reply limit passed"),
            FaultKind::Killed => f.write_str("killed from outside"),
            FaultKind::KeyViolation
            | FaultKind::StackOverflow
            | FaultKind::MalformedReply { error: None } => f.write_str(self.kind().name()),
        }
    }

    /// The access, in parentheses, where an address is known.
    fn write_where(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(address) = self.address() else { return Ok(()) };
        let access = self.access().map(|access| access.to_string());
        write!(f, " ({} at address {address:#x}", access.as_deref().unwrap_or("access"))?;
        if let Some(touched) = self.touched() {
            write!(f, ", {}", Harmless { text: touched, lines: Lines::One })?;
        }
        if let Some(key) = self.key() {
            write!(f, ", key {key}")?;
        }
        f.write_char(')')
    }

    fn write_details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = self.message() {
            write!(f, "\nmessage\n{}", Harmless { text: message, lines: Lines::Many })?;
        }
        if !self.stderr_tail().is_empty() {
            let text = String::from_utf8_lossy(self.stderr_tail());
            write!(
                f,
                "\nstandard error\n{}",
                Harmless { text: text.trim_end_matches('\n'), lines: Lines::Many }
            )?;
        }
        let backtrace = self.backtrace().to_string();
        if !backtrace.is_empty() {
            write!(f, "\nbacktrace\n{backtrace}")?;
        }
        match self.registers() {
            Some(registers) if self.kind().is_signal_like() => write!(f, "\nregisters\n{registers}"),
            _ => Ok(()),
        }
    }
}

/// How many lines a quotation may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Many,
}

/// Text from inside, with everything escaped that could move a cursor, change a colour, forge a line or turn the direction of
/// writing.
struct Harmless<'t> {
    text: &'t str,
    lines: Lines,
}

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.text.chars() {
            match letter {
                '\n' | '\t' if self.lines == Lines::Many => f.write_char(letter)?,
                // Separators of lines and paragraphs, marks and overrides of direction.
                '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                    write!(f, "{}", letter.escape_unicode())?;
                }
                letter if letter.is_control() => write!(f, "{}", letter.escape_debug())?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// A time with one decimal, in the unit that suits it.
struct Readable(Duration);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match self.0.as_nanos() {
            0..1_000_000 => write!(f, "{:.1} µs", seconds * 1e6),
            1_000_000..1_000_000_000 => write!(f, "{:.1} ms", seconds * 1e3),
            _ => write!(f, "{seconds:.1} s"),
        }
    }
}

/// The kernel's name of a signal that can end an isolate.
pub(super) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::backtrace::tests::{frame, with_frames};
    use crate::fault::{Access, Details, Phase, Registers};

    fn fault(kind: FaultKind, details: Details) -> Fault {
        Fault::new("process", kind, Phase::Inside, Duration::from_nanos(105_538), details)
    }

    #[test]
    fn the_line_says_what_how_far_when_and_on_which_backend() {
        let details = Details {
            signal: Some(libc::SIGSEGV),
            address: Some(0),
            access: Some(Access::Write),
            ..Details::default()
        };
        let line = fault(FaultKind::Signal, details).to_string();
        assert_eq!(line, "killed by SIGSEGV (write at address 0x0) inside, after 105.5 µs (backend process)");
        assert_eq!(syscall_name(libc::SYS_openat), Some("openat"));
        assert_eq!(syscall_name(-1), None);
    }

    #[test]
    fn a_key_violation_says_what_was_touched_in_both_forms() {
        let details = Details {
            signal: Some(libc::SIGSEGV),
            address: Some(0x55d0),
            access: Some(Access::Write),
            key: Some(0),
            touched: Some("a static of the program\n".to_owned()),
            registers: Some(Box::new(Registers::default())),
            ..Details::default()
        };
        let fault = fault(FaultKind::KeyViolation, details);
        let what = "key violation (write at address 0x55d0, a static of the program\\n, key 0) inside";
        assert_eq!(fault.to_string(), format!("{what}, after 105.5 µs (backend process)"));
        let long = format!("{fault:#}");
        assert!(long.starts_with(what) && long.contains("\nregisters\nrax "), "{long}");
    }

    #[test]
    fn signals_without_a_name_keep_their_number() {
        let death = |signal| fault(FaultKind::Signal, Details { signal: Some(signal), ..Details::default() });
        assert_eq!(death(libc::SIGBUS).signal_name(), Some("SIGBUS"));
        assert_eq!(death(35).signal_name(), None);
        assert!(death(35).to_string().starts_with("killed by signal 35 inside, "), "{}", death(35));
    }

    #[test]
    fn only_the_alternate_form_names_the_place() {
        let backtrace = with_frames(vec![frame("destroy_own_heap")]);
        let fault = fault(FaultKind::Abort, Details { backtrace, ..Details::default() });
        assert_eq!(fault.to_string(), "aborted inside, after 105.5 µs (backend process)");
        let long = format!("{fault:#}");
        let first = "aborted inside, in destroy_own_heap (a.rs:7), after 105.5 µs (backend process)";
        assert_eq!(long.lines().next(), Some(first));
    }

    #[test]
    fn what_was_said_comes_first_and_registers_last_where_they_mean_something() {
        let details = || Details {
            message: Some("boom".to_owned()),
            stderr_tail: b"last words\n".to_vec(),
            backtrace: with_frames(vec![frame("user")]),
            registers: Some(Box::new(Registers::default())),
            ..Details::default()
        };
        let heads = |kind: FaultKind| -> Vec<String> {
            let text = format!("{:#}", fault(kind, details()));
            let heads = ["message", "standard error", "backtrace", "registers"];
            text.lines().filter(|line| heads.contains(line)).map(str::to_owned).collect()
        };
        assert_eq!(heads(FaultKind::Signal), ["message", "standard error", "backtrace", "registers"]);
        for kind in [FaultKind::Panic, FaultKind::Exit { code: 1 }, FaultKind::Timeout] {
            assert_eq!(heads(kind), ["message", "standard error", "backtrace"]);
        }
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_moves_no_cursor() {
        let hostile = "a\u{1b}[2Jb\nfault: none\r\t\u{9b}1m\u{202e}\u{2028}\"ä\\";
        let details = Details {
            message: Some(hostile.to_owned()),
            stderr_tail: hostile.as_bytes().to_vec(),
            ..Details::default()
        };
        let fault = fault(FaultKind::Panic, details);
        let escaped = "a\\u{1b}[2Jb\\nfault: none\\r\\t\\u{9b}1m\\u{202e}\\u{2028}\"ä\\";
        let line = fault.to_string();
        assert_eq!(line, format!("panicked inside, after 105.5 µs (backend process): {escaped}"));
        let long = format!("{fault:#}");
        let kept = escaped.replace("\\n", "\n").replace("\\t", "\t");
        let what = "panicked inside, after 105.5 µs (backend process)";
        assert_eq!(long, format!("{what}\nmessage\n{kept}\nstandard error\n{kept}"));
    }

    #[test]
    fn times_have_one_decimal_and_a_unit_that_suits() {
        let cases = [(0, "0.0 µs"), (105_538, "105.5 µs"), (2_340_000, "2.3 ms"), (30_000_000_000, "30.0 s")];
        for (nanos, text) in cases {
            assert_eq!(Readable(Duration::from_nanos(nanos)).to_string(), text);
        }
    }
}
