//! One function of a backtrace, and a list of them as text.

use std::fmt;
use std::path::PathBuf;

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

/// The functions that an isolate's runtime calls user code through: what is outside of them is ours, not the user's.
const BEGIN_MARKER: &str = "__ringfence_begin";

/// Where every panic of Rust's enters its runtime, from user code.
const PANIC_ENTRIES: [&str; 2] = ["rust_begin_unwind", "std::panicking::begin_panic"];

/// How the names of Rust's own runtime begin.
const RUNTIME: [&str; 10] = [
    "std::",
    "core::",
    "alloc::",
    "<std::",
    "<core::",
    "<alloc::",
    "__rust",
    "rust_begin_unwind",
    "rust_panic",
    "panic_abort::",
];

impl Frame {
    /// Writes the function, and the file's name and line where they are known.
    pub(super) fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symbol {
            Some(symbol) => f.write_str(symbol)?,
            None => write!(f, "0x{:x}", self.address)?,
        }
        let file = self.file.as_deref().and_then(|file| file.file_name());
        match (file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({}:{line})", file.display()),
            (Some(file), None) => write!(f, " ({})", file.display()),
            (None, _) => Ok(()),
        }
    }

    fn named(&self, test: impl FnOnce(&str) -> bool) -> bool {
        self.symbol.as_deref().is_some_and(test)
    }

    /// Whether the function is Rust's own: of its runtime, or a generic of the standard library.
    fn is_rust_s(&self) -> bool {
        self.file.as_deref().is_some_and(|file| file.starts_with("/rustc"))
            || self.named(|name| RUNTIME.iter().any(|start| name.starts_with(start)))
    }

    /// Whether it takes part in a panic and is no user's: Rust's runtime, the C library below it, the hook that notes the panic.
    fn is_of_a_panic(&self) -> bool {
        let of_libc = self.object.as_deref().and_then(|object| object.file_name());
        self.is_rust_s()
            || self.named(|name| name.trim_start_matches('<').starts_with("ringfence_process::inside::"))
            || of_libc.is_some_and(|name| name.as_encoded_bytes().starts_with(b"libc."))
    }

    /// Whether it looks the same as another, whatever its address.
    fn resembles(&self, other: &Self) -> bool {
        let same_function = (&self.symbol, &self.file, self.line, &self.object)
            == (&other.symbol, &other.file, other.line, &other.object);
        same_function && (self.symbol.is_some() || self.address == other.address)
    }
}

/// The frames inside the one through which the runtime called user code, all of them if there is none.
fn inside(frames: &[Frame]) -> &[Frame] {
    let begin = frames.iter().position(|frame| frame.named(|name| name.contains(BEGIN_MARKER)));
    begin.and_then(|begin| frames.get(..begin)).unwrap_or(frames)
}

/// How many frames at the start are those of a panic on its way, with nothing of the user's among them.
fn of_the_panic(frames: &[Frame]) -> usize {
    let leading = frames.iter().take_while(|frame| frame.is_of_a_panic()).count();
    let entered = frames
        .iter()
        .take(leading)
        .any(|frame| frame.named(|name| PANIC_ENTRIES.iter().any(|entry| name.contains(entry))));
    if entered { leading } else { 0 }
}

/// The innermost function of the program's own: in no library, and not Rust's.
pub(super) fn culprit(frames: &[Frame]) -> Option<&Frame> {
    inside(frames).iter().find(|frame| frame.symbol.is_some() && frame.object.is_none() && !frame.is_rust_s())
}

/// Writes the user's frames, or in the alternate form all, with runs of equal ones cut short.
pub(super) fn write_frames(f: &mut fmt::Formatter<'_>, frames: &[Frame]) -> fmt::Result {
    let (skipped, shown) = if f.alternate() {
        (0, frames)
    } else {
        let inside = inside(frames);
        (of_the_panic(inside), inside)
    };
    let mut index = skipped;
    let mut separator = "";
    for run in shown.get(skipped..).unwrap_or_default().chunk_by(Frame::resembles) {
        let Some(first) = run.first() else { continue };
        write!(f, "{separator}{index:>3}: {first}")?;
        separator = "\n";
        match run.len() {
            1 => {}
            count => write!(f, "\n     … {} more of the same", count - 1)?,
        }
        index += run.len();
    }
    Ok(())
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
