//! What processes hold, read from `/proc`: descriptors, threads, children and theirs, mappings, resident memory, CPU time.
//!
//! # Safety
//! The only unsafe code reads a clock into a variable of its own frame.
#![expect(unsafe_code, reason = "CPU clocks of other processes have no safe form here")]

use std::time::Duration;
use std::{fs, io};

const PAGE_BYTES: u64 = 4096;

/// What this process holds, and what lives below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Descendants, zombies included.
    pub descendants: usize,
    /// Lines of the memory map.
    pub mappings: usize,
    /// Resident memory.
    pub resident_bytes: u64,
}

impl Usage {
    /// What this process holds now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn now() -> io::Result<Self> {
        let own = std::process::id();
        Ok(Self {
            // The list's own descriptor is in the list.
            descriptors: fs::read_dir("/proc/self/fd")?.count() - 1,
            threads: fs::read_dir("/proc/self/task")?.count(),
            descendants: descendants(own)?.len(),
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
            resident_bytes: resident_bytes(own)?,
        })
    }
}

/// A process as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// `R`, `S`, `Z` and so on, as in proc(5).
    pub state: char,
}

impl Process {
    /// Whether it has ended and nobody has waited for it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// The processes that `pid` made, those that they made, and so on; parents before their children.
///
/// # Errors
/// `/proc` cannot be read.
pub fn descendants(pid: u32) -> io::Result<Vec<Process>> {
    let all = processes()?;
    let mut found: Vec<Process> = all.iter().filter(|process| process.parent == pid).copied().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.iter().filter(|process| process.parent == parent));
        next += 1;
    }
    Ok(found)
}

/// The direct children of `pid`.
///
/// # Errors
/// `/proc` cannot be read.
pub fn children(pid: u32) -> io::Result<Vec<Process>> {
    let mut all = processes()?;
    all.retain(|process| process.parent == pid);
    Ok(all)
}

/// One process; `None` when there is none of this number.
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Resident memory of a process.
///
/// # Errors
/// There is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE_BYTES).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// CPU time that all threads of a process have used.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is writable for the call's duration.
    let error = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for the call's duration.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

fn processes() -> io::Result<Vec<Process>> {
    let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(process).collect())
}

/// `pid (name) state ppid …`, where the name may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let (before, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    Some(Process {
        pid: before.split_once(' ')?.0.parse().ok()?,
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_brackets_and_spaces_is_read() {
        let process = parse("12 (a) b (c) S 7 12 0").unwrap();
        assert_eq!((process.pid, process.state, process.parent), (12, 'S', 7));
        assert_eq!(parse("12 (a"), None);
    }

    #[test]
    fn a_child_and_its_child_are_found_and_a_dead_one_is_a_zombie() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let below = || descendants(shell.id()).unwrap();
        while below().is_empty() {
            std::thread::yield_now();
        }
        let own = std::process::id();
        assert!(children(own).unwrap().iter().any(|child| child.pid == shell.id()));
        assert!(descendants(own).unwrap().iter().any(|process| process.parent == shell.id()));
        let sleeper = below()[0].pid;
        assert!(Command::new("kill").arg(sleeper.to_string()).status().unwrap().success());
        while !process(shell.id()).unwrap().is_zombie() {
            std::thread::yield_now();
        }
        shell.wait().unwrap();
        assert_eq!(process(shell.id()), None);
    }

    #[test]
    fn held_things_are_counted() {
        let before = cpu_time(std::process::id()).unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let held = Usage::now().unwrap();
        assert!(held.resident_bytes >= 64 << 20 && held.threads >= 1 && held.mappings > 4, "{held:?}");
        assert!(held.descriptors >= 3, "{held:?}");
        assert!(cpu_time(std::process::id()).unwrap() > before, "filling {} bytes takes time", block.len());
    }
}
