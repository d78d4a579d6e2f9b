//! The backtrace of a fault: cheap to keep, and given names when somebody looks.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, OnceLock};

use super::frame::{self, Frame, Taken};
use super::registers::Registers;
use crate::images::Images;

/// Where the inside was when it died: program counters, innermost first.
///
/// They come out of memory that the inside could write. They name the functions of this process that the isolate ran,
/// if its stack was whole, and are no proof of anything otherwise.
#[derive(Clone, Debug, Default)]
pub struct Backtrace {
    stack: Option<Arc<Stack>>,
    taken: Taken,
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

impl Backtrace {
    /// Keeps the addresses that [`Images::unwind`] found. The first is a program counter, the others are return
    /// addresses.
    #[must_use]
    pub fn new(pcs: Vec<u64>) -> Self {
        Self { pcs: OnceLock::from(pcs), ..Self::default() }
    }

    /// Keeps a copy of the stack, from the address `start` upward, to be unwound when the addresses are first asked for.
    #[must_use]
    pub fn of_stack(images: Arc<Images>, registers: Registers, start: u64, bytes: Vec<u8>) -> Self {
        let stack = Arc::new(Stack { images, registers, start, bytes });
        Self { stack: Some(stack), ..Self::default() }
    }

    /// Says that it was taken by the hook of a panic.
    pub(super) fn taken_by_the_panic(&mut self) {
        self.taken = Taken::ByThePanic;
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

    /// The number of the first frame of the user's, and these frames.
    fn of_the_user(&self) -> (usize, &[Frame]) {
        let range = frame::of_the_user(self.frames(), self.taken);
        (range.start, self.frames().get(range).unwrap_or_default())
    }

    /// The innermost function of the program's own: in no library, and not of Rust's runtime or standard library. That is where to
    /// look first, not who is to blame.
    ///
    /// # Cost
    /// As [`frames`](Self::frames).
    #[must_use]
    pub fn culprit(&self) -> Option<&Frame> {
        frame::culprit(self.of_the_user().1)
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

/// Two lines a frame, without a newline at the end; a run of frames that look the same is cut short. Left out are the frames of the
/// isolate's runtime, from the one that called user code outward, and those of a panic from where user code entered it inward; each
/// frame keeps its number. `{:#}` shows them as well.
impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, frames) = if f.alternate() { (0, self.frames()) } else { self.of_the_user() };
        frame::write_frames(f, frames, first)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::fault) fn frame(symbol: &str) -> Frame {
        Frame {
            address: 0x10,
            symbol: Some(symbol.to_owned()),
            file: Some(PathBuf::from("src/a.rs")),
            line: Some(7),
            object: None,
        }
    }

    pub(in crate::fault) fn with_frames(frames: Vec<Frame>) -> Backtrace {
        let pcs = OnceLock::from(vec![0x10; frames.len()]);
        Backtrace { pcs, frames: OnceLock::from(frames), ..Backtrace::default() }
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
        let mut glue = frame("core::ops::function::Fn::call");
        glue.file = Some(PathBuf::from("/rustc/0/library/core/src/ops/function.rs"));
        let called = with_frames(vec![frame("user::inner"), glue, frame("rt::__ringfence_begin_call")]);
        assert_eq!(called.to_string(), "  0: user::inner\n        at src/a.rs:7");
    }

    #[test]
    fn the_frames_of_a_panic_are_shown_on_demand_only() {
        let names =
            ["std::panicking::panic_with_hook", "__rustc::rust_begin_unwind", "core::panicking::panic_fmt"];
        let mut frames: Vec<Frame> = names.map(frame).to_vec();
        frames.push(frame("user::boom"));
        let backtrace = with_frames(frames.clone());
        assert_eq!(backtrace.to_string(), "  3: user::boom\n        at src/a.rs:7");
        assert!(format!("{backtrace:#}").starts_with("  0: std::panicking::panic_with_hook\n"));
        assert_eq!(backtrace.culprit().and_then(|frame| frame.symbol.as_deref()), Some("user::boom"));
        // A crash on the way, in what the user had printed, is the user's.
        frames.insert(0, frame("<user::Value as core::fmt::Display>::fmt"));
        let text = with_frames(frames).to_string();
        assert!(text.starts_with("  0: <user::Value as core::fmt::Display>::fmt\n"), "{text}");
        // Unless it is the panic's own hook that looked.
        let mut by_the_hook =
            with_frames([vec![frame("hook")], names.map(frame).to_vec(), vec![frame("user::boom")]].concat());
        assert_eq!(by_the_hook.culprit().and_then(|frame| frame.symbol.as_deref()), Some("hook"));
        by_the_hook.taken_by_the_panic();
        assert_eq!(by_the_hook.to_string(), "  4: user::boom\n        at src/a.rs:7");
        assert_eq!(by_the_hook.culprit().and_then(|frame| frame.symbol.as_deref()), Some("user::boom"));
        // So is code of the standard library that no panic called.
        let text = with_frames(vec![frame("core::ptr::write"), frame("user::boom")]).to_string();
        assert!(text.starts_with("  0: core::ptr::write\n"), "{text}");
    }

    #[test]
    fn runs_of_equal_frames_are_cut_short() {
        let mut frames = vec![frame("user::recursive"); 58];
        frames[0].address = 0x20;
        frames.push(frame("user::outer"));
        frames.push(frame("user::outer"));
        let expected = "  0: user::recursive\n        at src/a.rs:7\n     … 57 more of the same\n \
             58: user::outer\n        at src/a.rs:7\n     … 1 more of the same";
        assert_eq!(with_frames(frames).to_string(), expected);
        let mut unknown = vec![frame(""), frame("")];
        unknown.iter_mut().for_each(|frame| frame.symbol = None);
        unknown[1].address = 0x20;
        assert!(
            !with_frames(unknown).to_string().contains("of the same"),
            "other addresses, maybe other functions"
        );
    }

    #[test]
    fn the_culprit_is_the_program_s_own_and_inside() {
        let name = |frames: Vec<Frame>| with_frames(frames).culprit().and_then(|frame| frame.symbol.clone());
        let mut of_library = frame("free");
        of_library.object = Some(PathBuf::from("/lib/libc.so.6"));
        let mut of_rust = frame("abort");
        of_rust.file = Some(PathBuf::from("/rustc/0/library/std/src/process.rs"));
        let mut wild = frame("");
        wild.symbol = None;
        let marker = || frame("rt::__ringfence_begin_call");
        let leading = vec![wild, of_library, of_rust];
        assert_eq!(name([leading.clone(), vec![frame("user"), marker()]].concat()), Some("user".to_owned()));
        assert_eq!(name([leading, vec![marker(), frame("main")]].concat()), None);
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
