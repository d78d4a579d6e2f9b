//! Compresses a file with a C library inside a sandbox, watches a C function destroy its heap there, and goes on.
//!
//! ```sh
//! cargo run --release --example quickstart -- [FILE] [--backend process|mpk|direct] [--passports DIR]
//! ```
//!
//! Where the backend is not available it says why, and its exit status is 2.
//!
//! # Safety
//! The function that destroys its heap is called only where the sandbox says that it contains faults.
#![expect(unsafe_code, reason = "calls a C function that misbehaves")]

#[path = "ffi/compression.rs"]
mod compression;
#[path = "ffi/lz4.rs"]
mod lz4;
#[path = "ffi/snappy.rs"]
mod snappy;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use compression::Library;
use ringfence::passport::{Holder, OutcomeName, Snapshot};
use ringfence::{Backend, Fault, Item, Sandbox, Status};

const USAGE: &str = "usage: quickstart [FILE] [--backend process|mpk|direct] [--passports DIR]";
const FAILED: u8 = 1;
const UNAVAILABLE: u8 = 2;
const CALLS: usize = 9;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let is_unavailable = matches!(error.downcast_ref(), Some(ringfence::Error::Unavailable(_)));
            ExitCode::from(if is_unavailable { UNAVAILABLE } else { FAILED })
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::read()?;
    if matches!(options.backend, Backend::Auto | Backend::Process) {
        // Isolates descend from the program as it is here: small, and with one thread.
        ringfence::early()?;
    }
    let plain = match &options.file {
        Some(file) => fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?,
        None => include_bytes!("data/lighthouse_log.txt").to_vec(),
    };
    let sandbox = Sandbox::builder().backend(options.backend).build()?;
    println!("{}", sandbox.guarantees());

    let library = Library::suiting(&sandbox);
    let (packed, packing) = median(|| library.compress(&sandbox, &plain))?;
    let packed = packed.ok_or("the library cannot compress the input")?;
    let (unpacked, unpacking) = median(|| library.uncompress(&sandbox, &packed))?;
    println!("compress:   {} -> {} bytes in {packing:.1?}", plain.len(), packed.len());
    println!("uncompress: {} -> {} bytes in {unpacking:.1?}", packed.len(), plain.len());
    println!("({}, each the median of {CALLS} calls, backend {})", library.name(), sandbox.backend_name());
    if unpacked.as_ref() != Some(&plain) {
        return Err("the bytes that came back are not those that went in".into());
    }
    println!("bytes equal: yes\n");

    crash(&sandbox)?;
    if library.compress(&sandbox, &plain)? != Some(packed) {
        return Err("the result is another one than before".into());
    }
    println!("compressed once more: same result\n");

    let snapshot = sandbox.tracker().snapshot();
    let file = snapshot.export_json(&options.passports).map_err(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    })?;
    println!("memory passports: {} ({})", file.display(), summary(&snapshot));
    Ok(())
}

/// A C function writes over its whole heap. Here that is a value.
fn crash(sandbox: &Sandbox) -> Result<(), Box<dyn Error>> {
    if sandbox.guarantees().status(Item::FaultContainment) != Status::Enforced {
        println!("this backend contains no faults, so the crash is left out\n");
        return Ok(());
    }
    // SAFETY: it runs in an isolate that contains faults, as checked above, and is thrown away afterwards: no memory but the
    // isolate's own is destroyed.
    let crashed = sandbox.call(|()| unsafe { ringfence_testkit::fixtures::destroy_own_heap() }, ());
    let Err(error) = crashed else { return Err("the heap was destroyed and nothing noticed".into()) };
    print(error.fault().ok_or_else(|| format!("the crash did not begin: {error}"))?);
    Ok(())
}

/// The parts of a fault that a person reads first; `{fault:#}` has the registers as well.
fn print(fault: &Fault) {
    println!("fault: {fault}");
    for line in String::from_utf8_lossy(fault.stderr_tail()).lines() {
        println!("its last words: {line}");
    }
    if let Some(symbol) = fault.backtrace().culprit().and_then(|frame| frame.symbol.as_deref()) {
        println!("it was in: {symbol}");
    }
    println!("backtrace:\n{}\n", fault.backtrace());
}

/// The result of several equal calls, and the median of their times.
fn median<R>(call: impl Fn() -> Result<R, ringfence::Error>) -> Result<(R, Duration), ringfence::Error> {
    let timed = || {
        let start = Instant::now();
        Ok((call()?, start.elapsed()))
    };
    let mut calls = (0..CALLS).map(|_| timed()).collect::<Result<Vec<_>, ringfence::Error>>()?;
    calls.sort_by_key(|&(_, time)| time);
    Ok(calls.swap_remove(CALLS / 2))
}

fn summary(snapshot: &Snapshot) -> String {
    let faults =
        snapshot.crossings().filter(|crossing| crossing.outcome == Some(OutcomeName::Faulted)).count();
    let leaks =
        snapshot.passports().filter(|passport| passport.holder_at_shutdown == Some(Holder::Foreign)).count();
    let (crossings, passports) = (snapshot.crossings().len(), snapshot.passports().len());
    format!("crossings: {crossings}, faults: {faults}, passports: {passports}, leaks: {leaks}")
}

/// The command line.
struct Options {
    file: Option<PathBuf>,
    backend: Backend,
    passports: PathBuf,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut options =
            Self { file: None, backend: Backend::Process, passports: PathBuf::from("target/quickstart") };
        let mut arguments = env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = |option| arguments.next().ok_or(format!("{option} needs a value; {USAGE}"));
            match argument.to_str() {
                Some("--backend") => options.backend = value("--backend")?.to_string_lossy().parse()?,
                Some("--passports") => options.passports = value("--passports")?.into(),
                Some(option) if option.starts_with('-') => {
                    return Err(format!("unknown option {option}; {USAGE}").into());
                }
                _ if options.file.is_some() => return Err(format!("more than one file; {USAGE}").into()),
                _ => options.file = Some(argument.into()),
            }
        }
        Ok(options)
    }
}
