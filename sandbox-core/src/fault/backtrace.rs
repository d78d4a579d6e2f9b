//! The backtrace of a fault: cheap to keep, and given names when somebody looks.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, OnceLock};

use super::registers::Registers;
use crate::images::Images;

/// The function that an isolate's runtime calls user code through: what is outside of it is ours, not the user's.
const BEGIN_MARKER: &str = "__ringfence_begin";

/// Where the inside was when it died: program counters, innermost first.
///
/// They come out of memory that the inside could write. They name the functions of this process that the isolate ran,
/// if its stack was whole, and are no proof of anything otherwise.
#[derive(Clone, Debug, Default)]
pub struct Backtrace {
    stack: Option<Arc<Stack>>,
    pcs: OnceLock<Vec<u64>>,
    frames: OnceLock<Vec<Frame>>,
}

/// What is unwound when somebody looks.
#[derive(Debug)]
struct Stack {
    images: Arc<Images>,
    registers: Registers,
    start: u64,
    bytes: Vec<u8>,
}

/// The most addresses of one backtrace.
const MOST_FRAMES: usize = 64;

/// One function on the stack; one that was inlined has a frame of its own, before that of the function it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The program counter in the innermost frame, in the others the address that the call returns to.
    pub address: u64,
    /// The function, demangled if it is Rust's.
    pub symbol: Option<String>,
    /// The source file.
    pub file: Option<PathBuf>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// The loaded file that holds the address; `None` for the executable itself and for addresses outside of all.
    pub object: Option<PathBuf>,
}

impl Backtrace {
    /// Keeps the addresses that [`Images::unwind`] found. The first is a program counter, the others are return
    /// addresses.
    #[must_use]
    pub fn new(pcs: Vec<u64>) -> Self {
        Self { stack: None, pcs: OnceLock::from(pcs), frames: OnceLock::new() }
    }

    /// Keeps a copy of the stack, from the address `start` upward, to be unwound when the addresses are first asked for.
    #[must_use]
    pub fn of_stack(images: Arc<Images>, registers: Registers, start: u64, bytes: Vec<u8>) -> Self {
        let stack = Arc::new(Stack { images, registers, start, bytes });
        Self { stack: Some(stack), pcs: OnceLock::new(), frames: OnceLock::new() }
    }

    /// The addresses, innermost first, 64 at most.
    ///
    /// # Cost
    /// The first call unwinds: microseconds, and some hundreds the first time a backtrace passes through an object.
    #[must_use]
    pub fn pcs(&self) -> &[u64] {
        self.pcs.get_or_init(|| {
            self.stack.as_ref().map_or_else(Vec::new, |stack| {
                stack.images.unwind_from(&stack.registers, stack.start, &stack.bytes, MOST_FRAMES)
            })
        })
    }

    /// Whether there is no address at all: nothing was saved, or the inside did not die of a signal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pcs().is_empty()
    }

    /// The frames by name, innermost first; at least one for each address.
    ///
    /// A library that was loaded after this process first gave names to a backtrace has no symbols here: the
    /// `backtrace` crate lists the libraries once.
    ///
    /// # Cost
    /// The first call for the process maps the executable's debug information and indexes it: tens of milliseconds
    /// for a large one. The first call for this backtrace looks up each address; later calls are free.
    pub fn frames(&self) -> &[Frame] {
        self.frames.get_or_init(|| {
            let images = Images::capture();
            let mut frames = Vec::with_capacity(self.pcs().len());
            for (index, &pc) in self.pcs().iter().enumerate() {
                // The crate takes every address for a return address and looks up the byte before it, which is right
                // for all but the innermost.
                let lookup = if index == 0 { pc.wrapping_add(1) } else { pc };
                push_frames(&images, pc, lookup, &mut frames);
            }
            frames
        })
    }
}

/// Appends the frames of one address: as many as were inlined into each other there, and one if nothing is known.
fn push_frames(images: &Images, pc: u64, lookup: u64, frames: &mut Vec<Frame>) {
    let lookup = lookup as usize;
    let object = lookup
        .checked_sub(1)
        .and_then(|call| images.object_at(call))
        .map(|image| image.name().to_owned())
        .filter(|name| !name.as_os_str().is_empty());
    let before = frames.len();
    // Addresses are hostile and debug information is what a compiler or a post-processor made of it, so a bug in the
    // parsers below must cost a name, not the host. Unwind safety: a frame is pushed whole or not at all.
    drop(catch_unwind(AssertUnwindSafe(|| {
        backtrace::resolve(ptr::without_provenance_mut(lookup), |symbol| {
            frames.push(Frame {
                address: pc,
                symbol: symbol.name().map(|name| format!("{name:#}")),
                file: symbol.filename().map(PathBuf::from),
                line: symbol.lineno(),
                object: object.clone(),
            });
        });
    })));
    if frames.len() == before {
        frames.push(Frame { address: pc, symbol: None, file: None, line: None, object });
    }
}

/// Two lines a frame, without a newline at the end. The frames of the isolate's runtime, from the one that called user
/// code outward, are left out; `{:#}` shows them as well.
impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = self.frames();
        let is_begin = |frame: &Frame| frame.symbol.as_ref().is_some_and(|name| name.contains(BEGIN_MARKER));
        let shown = match frames.iter().position(is_begin) {
            Some(begin) if !f.alternate() => begin,
            _ => frames.len(),
        };
        for (index, frame) in frames.iter().take(shown).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{index:>3}: {frame}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.symbol, &self.object) {
            (Some(symbol), _) => f.write_str(symbol)?,
            (None, Some(object)) => write!(f, "0x{:x} in {}", self.address, object.display())?,
            (None, None) => write!(f, "0x{:x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "\n        at {}:{line}", file.display()),
            (Some(file), None) => write!(f, "\n        at {}", file.display()),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(symbol: &str) -> Frame {
        Frame {
            address: 0x10,
            symbol: Some(symbol.to_owned()),
            file: Some(PathBuf::from("src/a.rs")),
            line: Some(7),
            object: None,
        }
    }

    fn with_frames(frames: Vec<Frame>) -> Backtrace {
        Backtrace { pcs: vec![0x10; frames.len()], frames: OnceLock::from(frames) }
    }

    #[test]
    fn the_runtime_s_frames_are_shown_on_demand_only() {
        let backtrace = with_frames(vec![
            frame("user::inner"),
            frame("user::outer"),
            frame("rt::__ringfence_begin"),
            frame("main"),
        ]);
        let short = backtrace.to_string();
        assert_eq!(short, "  0: user::inner\n        at src/a.rs:7\n  1: user::outer\n        at src/a.rs:7");
        assert!(format!("{backtrace:#}").ends_with("  3: main\n        at src/a.rs:7"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut unknown = frame("");
        unknown.symbol = None;
        unknown.file = None;
        assert_eq!(unknown.to_string(), "0x10");
        unknown.object = Some(PathBuf::from("/lib/libfoo.so"));
        assert_eq!(unknown.to_string(), "0x10 in /lib/libfoo.so");
    }

    #[test]
    fn the_innermost_address_is_a_program_counter_and_the_others_are_return_addresses() {
        // The first byte of a function: as a return address it belongs to whatever lies before it.
        let start = push_frames as fn(&Images, u64, u64, &mut Vec<Frame>) as usize as u64;
        let is_it = |frame: &Frame| frame.symbol.as_ref().is_some_and(|name| name.contains("push_frames"));
        let innermost = Backtrace::new(vec![start]);
        assert!(innermost.frames().iter().any(is_it));
        let outer = Backtrace::new(vec![start, start]);
        let frames = outer.frames();
        assert!(is_it(&frames[0]));
        assert!(!frames[1..].iter().any(is_it));
    }

    #[test]
    fn wild_addresses_are_frames_without_a_name() {
        let wild = vec![0, 1, 0xdead_beef, 1 << 47, i64::MAX as u64, u64::MAX - 1, u64::MAX];
        let backtrace = Backtrace::new([wild.clone(), wild].concat());
        assert_eq!(backtrace.frames().len(), 14);
        assert!(backtrace.frames().iter().all(|frame| frame.symbol.is_none() && frame.object.is_none()));
        assert!(backtrace.to_string().contains("0xdeadbeef"));
        let innermost = Backtrace::new(vec![u64::MAX]);
        assert_eq!(innermost.frames().len(), 1);
    }

    #[test]
    fn an_empty_backtrace_shows_nothing() {
        assert_eq!(Backtrace::default().to_string(), "");
        assert!(Backtrace::default().is_empty());
        assert!(!Backtrace::new(vec![0]).is_empty());
    }
}
