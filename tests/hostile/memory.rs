//! Attacks on the host's memory.
//!
//! # Safety
//! Fixtures run inside isolates and forked children, whose memory is thrown away.
#![expect(unsafe_code, reason = "calls fixtures through a macro")]

use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use ringfence::Sandbox;

use crate::support::{Victim, allowing, assert_denied, both, defended, fixture, host, int, unfiltered};

const OLD: u64 = 0x1111_1111_1111_1111;
static NEW: u64 = 0x2222_2222_2222_2222;

/// A word of the host to attack.
fn target() -> (&'static AtomicU64, u64) {
    let word: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(OLD)));
    (word, std::ptr::from_ref(word).addr() as u64)
}

fn store([_, address]: [u64; 2]) -> i64 {
    fixture!(store_at(address as usize, 0x22));
    i64::from(fixture!(load_at(address as usize)))
}

#[test]
fn inside_overwrites_host_memory() {
    let (word, address) = target();
    for stored in both(&defended(), store, [0, address]) {
        assert_eq!((stored.unwrap(), word.load(Ordering::SeqCst)), (0x22, OLD));
    }
    let control = Sandbox::direct().unwrap().call(store, [0, address]);
    assert_eq!(control.unwrap(), 0x22);
    assert_ne!(word.load(Ordering::SeqCst), OLD, "without isolation the store reaches the host");
}

fn write_process([pid, address]: [u64; 2]) -> i64 {
    fixture!(process_vm_write(int(pid), address as usize, (&raw const NEW).cast(), 8))
}

#[test]
fn inside_writes_host_memory_through_the_kernel() {
    let (word, address) = target();
    assert_denied(libc::SYS_process_vm_writev, write_process, [host(), address]);
    assert_eq!(word.load(Ordering::SeqCst), OLD);
    let sandbox = allowing(&[libc::SYS_process_vm_writev]);
    for kind in 0..2 {
        let aim = [host(), address];
        let written =
            if kind == 0 { sandbox.call(write_process, aim) } else { sandbox.run(|| write_process(aim)) };
        let written = written.unwrap();
        if written == -i64::from(libc::EPERM) {
            println!(
                "control not possible here: the kernel lets no process write to its parent (yama, or no privilege)"
            );
            return;
        }
        assert_eq!((written, word.swap(OLD, Ordering::SeqCst)), (8, NEW));
    }
}

fn read_process([pid, address]: [u64; 2]) -> i64 {
    let mut seen = 0_u64;
    let count = fixture!(process_vm_read(int(pid), address as usize, (&raw mut seen).cast(), 8));
    if count == 8 { i64::from(seen == OLD) } else { count }
}

#[test]
fn inside_reads_host_memory_through_the_kernel() {
    let (_, address) = target();
    assert_denied(libc::SYS_process_vm_readv, read_process, [host(), address]);
    for result in both(&allowing(&[libc::SYS_process_vm_readv]), read_process, [host(), address]) {
        let read = result.unwrap();
        if read == -i64::from(libc::EPERM) {
            println!(
                "control not possible here: the kernel lets no process read its parent (yama, or no privilege)"
            );
            return;
        }
        assert_eq!(read, 1);
    }
}

fn open_memory([pid, _]: [u64; 2]) -> i64 {
    match std::fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")) {
        Ok(file) => i64::from(file.into_raw_fd()),
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(0)),
    }
}

#[test]
fn inside_opens_the_memory_of_the_host() {
    for result in both(&defended(), open_memory, [host(), 0]) {
        assert_eq!(result.unwrap(), -i64::from(libc::EACCES));
    }
    for result in both(&unfiltered(), open_memory, [host(), 0]) {
        let opened = result.unwrap();
        if opened == -i64::from(libc::EACCES) {
            println!(
                "control not possible here: the kernel lets no process open its parent's memory (yama, or no privilege)"
            );
            return;
        }
        assert!(opened > 2, "{opened}");
    }
}

fn attach([pid, _]: [u64; 2]) -> i64 {
    fixture!(ptrace_attach(int(pid)))
}

#[test]
fn inside_traces_the_host() {
    assert_denied(libc::SYS_ptrace, attach, [host(), 0]);
    for attack in [0, 1] {
        // In the place of the host, which a success would stop.
        let victim = Victim::new();
        let sandbox = allowing(&[libc::SYS_ptrace]);
        let aim = [u64::try_from(victim.0).unwrap(), 0];
        let attached = if attack == 0 { sandbox.call(attach, aim) } else { sandbox.run(|| attach(aim)) };
        let attached = attached.unwrap();
        if attached == -i64::from(libc::EPERM) {
            println!(
                "control not possible here: the kernel lets no process trace a stranger (yama, or no privilege)"
            );
            return;
        }
        assert_eq!(attached, 0);
    }
}
