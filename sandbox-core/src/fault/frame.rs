//! One function of a backtrace, and a list of them as text.

use std::fmt;
use std::ops::Range;
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

/// What stands before functions of the C library: `ringfence-shim` defines them in the program itself.
const INTERPOSED: [&str; 22] = [
    "sigaction",
    "signal",
    "abort",
    "exit",
    "_exit",
    "_Exit",
    "quick_exit",
    "__stack_chk_fail",
    "__assert_fail",
    "__chk_fail",
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "raise",
];
/// How the names begin of what they call to end a domain.
const ENDING: [&str; 3] = ["ringfence_mpk", "ringfence_shim::", "<ringfence_shim::"];

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

    /// Whether it stands before a function of the C library, or is what that calls to end a domain.
    fn is_of_the_shim(&self) -> bool {
        self.object.is_none()
            && self.named(|name| {
                INTERPOSED.contains(&name) || ENDING.iter().any(|start| name.starts_with(start))
            })
    }

    /// Whether it is the standard library's way of calling a function that is given as a value.
    fn is_call_glue(&self) -> bool {
        self.file
            .as_deref()
            .is_some_and(|file| file.starts_with("/rustc") && file.ends_with("core/src/ops/function.rs"))
    }

    /// Whether it is of Rust's runtime or of the C library below it, as what raises a panic and ends in an abort is.
    fn is_of_a_runtime(&self) -> bool {
        let library = self.object.as_deref().and_then(|object| object.file_name());
        self.is_rust_s() || library.is_some_and(|name| name.as_encoded_bytes().starts_with(b"libc."))
    }

    fn is_panic_entry(&self) -> bool {
        self.named(|name| PANIC_ENTRIES.iter().any(|entry| name.contains(entry)))
    }

    /// Whether it looks the same as another, whatever its address.
    fn resembles(&self, other: &Self) -> bool {
        let same_function = (&self.symbol, &self.file, self.line, &self.object)
            == (&other.symbol, &other.file, other.line, &other.object);
        same_function && (self.symbol.is_some() || self.address == other.address)
    }
}

/// Who looked where the inside was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Taken {
    /// The handler of the signal that stopped it.
    #[default]
    AtTheStop,
    /// The hook that a panic calls, so that the innermost frames are those of the panic and of the hook.
    ByThePanic,
}

/// The numbers of the frames that are the user's, as far as that can be told.
pub(super) fn of_the_user(frames: &[Frame], taken: Taken) -> Range<usize> {
    let begin = frames.iter().position(|frame| frame.named(|name| name.contains(BEGIN_MARKER)));
    let mut end = begin.unwrap_or(frames.len());
    if begin.is_some() {
        let glue = frames.iter().take(end).rev().take_while(|frame| frame.is_call_glue()).count();
        end -= glue;
    }
    let inside = frames.get(..end).unwrap_or_default();
    let of_a_runtime =
        |from: usize| inside.iter().skip(from).take_while(|frame| frame.is_of_a_runtime()).count();
    let entry = inside.iter().position(Frame::is_panic_entry);
    let start = match (taken, entry) {
        (Taken::ByThePanic, Some(entry)) => entry + of_a_runtime(entry),
        // A crash in what a panic prints is the user's: only where there is nothing of the user's before the entry is it left out.
        (Taken::AtTheStop, Some(entry)) if of_a_runtime(0) > entry => of_a_runtime(0),
        _ => inside.iter().take_while(|frame| frame.is_of_the_shim()).count(),
    };
    start..end
}

/// The innermost of these functions that is the program's own: in no library, and not Rust's.
pub(super) fn culprit(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|frame| {
        frame.symbol.is_some() && frame.object.is_none() && !frame.is_rust_s() && !frame.is_of_the_shim()
    })
}

/// Writes frames, numbered from `first` on, with runs of equal ones cut short.
pub(super) fn write_frames(f: &mut fmt::Formatter<'_>, frames: &[Frame], first: usize) -> fmt::Result {
    let mut index = first;
    let mut separator = "";
    for run in frames.chunk_by(Frame::resembles) {
        let Some(frame) = run.first() else { continue };
        write!(f, "{separator}{index:>3}: {frame}")?;
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
