//! Code that is loaded when the isolates are there already.
//!
//! # Safety
//! Loads a library made for this test, and puts work together by hand that is never to be entered.
#![expect(unsafe_code, reason = "dlopen, and work put together by hand")]

use std::ffi::CString;
use std::path::PathBuf;
use std::process::Command;

use ringfence::{Bincode, Error, Limits, Tracker};
use ringfence_core::backend::{Backend, Data, Entry, Purpose, Work};
use ringfence_core::{Config, Sandbox};
use ringfence_process::Process;

/// A library with one function, in a file of its own.
fn library(name: &str) -> CString {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, library) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
    std::fs::write(&source, "unsigned loaded_late(void) { return 42; }\n").unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.unwrap().success(), "cc builds a library of one function");
    CString::new(library.into_os_string().into_encoded_bytes()).unwrap()
}

fn load(path: &CString) -> usize {
    // SAFETY: the path is a C string, and the library has no code that runs when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "{path:?} is loaded");
    // SAFETY: the handle was just opened and is never closed; the name is a C string.
    let symbol = unsafe { libc::dlsym(handle, c"loaded_late".as_ptr()) };
    assert!(!symbol.is_null());
    symbol as usize
}

/// Enters code at `address` in a worker, as a plug-in would that has a sandbox of its host's.
fn enter(backend: &Process, address: usize) -> Result<(), Error> {
    // SAFETY: made to be refused: a worker does not enter an address that it does not have.
    let entry = unsafe { Entry::from_address(address) };
    // SAFETY: as above.
    let work = unsafe { Work::from_parts(entry, Data::Request { bytes: 0 }) };
    backend.lend(Purpose::Call, &mut |isolate| isolate.enter(work).map(drop))
}

#[test]
fn a_function_that_the_isolates_do_not_have_is_refused() {
    let path = library("late");
    let backend = Process::new(&Config::default(), None).unwrap();
    let address = load(&path);
    for _ in 0..2 {
        let refused = enter(&backend, address).unwrap_err();
        assert!(matches!(refused, Error::NotLoaded { address: told } if told == address), "{refused}");
        assert!(refused.to_string().contains(&format!("{address:#x}")), "{refused}");
    }
    // Not code at all, or nothing.
    for address in [8, &raw const DATA as usize, usize::MAX - 4096] {
        assert!(matches!(enter(&backend, address), Err(Error::NotLoaded { .. })), "{address:#x}");
    }
    // The isolate is none the worse for it, and one that was made later has the function.
    let sandbox = Sandbox::<Bincode>::new(Box::new(backend), &Limits::new(), Tracker::disabled());
    assert_eq!(sandbox.call(|x: u64| x, 1_u64).unwrap(), 1);
}

static DATA: u64 = 7;
