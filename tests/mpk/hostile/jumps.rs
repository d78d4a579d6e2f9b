//! Jumps from inside to every byte of the gate, with forged registers: none ends in the attacker's code with the host's rights.
//!
//! The sweep runs in processes of its own. One that the kernel ends (where it cannot write the frame of the signal that a jump raised) has changed
//! nothing of the host; the next one goes on behind the jump that did it.
//!
//! # Safety
//! Jumps with chosen registers, inside domains; words in a file that the processes of one test share.
#![expect(unsafe_code, reason = "jumps into the gate, and a shared mapping")]

use std::env;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence::{Policy, Sandbox};
use ringfence_testkit::child::{self, End};

use super::forged::{Forged, LANDED, address, field, landed, landing, planted_call};
use super::machine::{Leap, fs_base, gs_base, rights, set_rights};
use super::support::{
    assert_works, beside, control_block, defended, fault, limits, syscall, title, trials, with,
};

unsafe extern "C" {
    fn ringfence_mpk_gate();
    fn ringfence_mpk_trap();
}

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_calls_the_gate_with_a_block_of_its_own
        inside_jumps_to_any_byte_of_the_gate
    }
}

fn call_with_a_forged_block(entry: u64) -> u64 {
    let mut forged = Forged::EMPTY;
    forged.fill();
    let mut leap = Leap::to(entry);
    leap.rdi = forged.address();
    leap.rsp = forged.stack();
    leap.go()
}

fn inside_calls_the_gate_with_a_block_of_its_own() {
    let control = child::run(|| {
        // The host's rights, which the block's are.
        set_rights(0);
        call_with_a_forged_block(landing()) as i32
    });
    assert_eq!(control.unwrap().end, End::Signal(libc::SIGILL), "the control: what follows the count");
    let sandbox = defended();
    let ended = fault(sandbox.call(call_with_a_forged_block, address(ringfence_mpk_gate)));
    println!("{ended}");
    assert_eq!(landed(), 0, "the attacker's code ran with the host's rights");
    assert_works(&sandbox);
}

/// How an attacker prepares one sweep. Blocks and stacks: the forged one, this thread's own, another thread's.
#[derive(Debug, Clone, Copy)]
struct Variant {
    rights: Rights,
    block: Block,
    gs: Block,
    stack: Stack,
    counter: u64,
}

#[derive(Debug, Clone, Copy)]
enum Rights {
    All,
    Host,
    Domain,
    OfHandlers,
    InitialOnly,
}

#[derive(Debug, Clone, Copy)]
enum Block {
    Forged,
    Own,
    None,
}

#[derive(Debug, Clone, Copy)]
enum Stack {
    Forged,
    /// Where another thread's block holds the address that its last system call went on at.
    Others,
    /// Where the kernel puts a frame.
    Frame,
    /// In the block's first page.
    Own,
}

const fn variant(rights: Rights, block: Block, gs: Block, stack: Stack) -> Variant {
    Variant { rights, block, gs, stack, counter: 0 }
}

const VARIANTS: &[Variant] = &[
    variant(Rights::All, Block::Forged, Block::Forged, Stack::Forged),
    variant(Rights::All, Block::Forged, Block::None, Stack::Forged),
    variant(Rights::All, Block::Own, Block::Own, Stack::Forged),
    variant(Rights::InitialOnly, Block::Forged, Block::Forged, Stack::Forged),
    variant(Rights::Host, Block::Own, Block::Own, Stack::Forged),
    variant(Rights::Domain, Block::Own, Block::Own, Stack::Forged),
    variant(Rights::OfHandlers, Block::Own, Block::Own, Stack::Frame),
    variant(Rights::OfHandlers, Block::Own, Block::Own, Stack::Own),
    variant(Rights::OfHandlers, Block::Forged, Block::Forged, Stack::Others),
    Variant { counter: 1, ..variant(Rights::All, Block::Own, Block::Own, Stack::Forged) },
];

/// What an attacker has found out: its thread's block, another's, the rights outside.
type Found = [u64; 3];

fn jump((index, offset, [own, others, host]): (u64, u64, Found)) -> u64 {
    let variant = VARIANTS[index as usize];
    let mut forged = Box::new(Forged::EMPTY);
    forged.fill();
    let block = |which: Block| match which {
        Block::Forged => forged.address(),
        Block::Own => own,
        Block::None => 0,
    };
    let frame = own + field::FRAME as u64;
    // SAFETY: the block is readable inside.
    let frame = unsafe { (frame as *const u64).read_volatile() };
    let mut leap = Leap::to(address(ringfence_mpk_gate) + offset);
    leap.rax = match variant.rights {
        Rights::All => 0,
        Rights::Host => host,
        Rights::Domain => u64::from(rights()),
        Rights::OfHandlers => host & 0x5555_5554,
        Rights::InitialOnly => 0x5555_5554,
    };
    leap.rcx = variant.counter;
    leap.rdx = variant.counter;
    leap.rdi = block(variant.block);
    leap.r15 = leap.rdi;
    leap.gs = block(variant.gs);
    leap.rsi = forged.address();
    leap.rsp = match variant.stack {
        Stack::Forged => forged.stack(),
        Stack::Others => others + field::AFTER_RIP as u64,
        Stack::Own => own + field::AFTER_RIP as u64,
        Stack::Frame => frame,
    };
    if let Stack::Frame = variant.stack {
        leap.rdi = libc::SIGUSR1 as u64;
        leap.rdx = forged.address();
        if is_writable(frame) {
            // SAFETY: the kernels that let a domain write here are those whose frames have its key.
            unsafe { (frame as *mut u64).write_volatile(landing()) };
        }
    }
    leap.go()
}

/// Whether a kernel takes the answer to a call at this address.
fn is_writable(address: u64) -> bool {
    syscall(libc::SYS_clock_gettime, [0, address, 0, 0, 0, 0]) == 0
}

/// Makes a system call from inside, behind which the landing is.
fn plant(_: u64) -> u64 {
    let mut leap = Leap::to(planted_call());
    leap.rax = libc::SYS_getpid as u64;
    leap.go()
}

/// Names the file that the processes of the sweep share.
const VARIABLE: &str = "RINGFENCE_HOSTILE_SWEEP";
/// Words in it: arrivals, the next jump.
const WORDS: usize = 2;
/// What a jump may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn words(file: &File) -> &'static [AtomicU64; WORDS] {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: no address is asked for.
    let mapped =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    // SAFETY: a page of the file, mapped for the life of the process; everyone accesses it atomically.
    unsafe { &*mapped.cast() }
}

fn jumps() -> u64 {
    let bytes = address(ringfence_mpk_trap) - address(ringfence_mpk_gate);
    assert!((400..4000).contains(&bytes), "the gate is in one piece");
    bytes * VARIANTS.len() as u64
}

fn inside_jumps_to_any_byte_of_the_gate() {
    let name = title(module_path!(), "inside_jumps_to_any_byte_of_the_gate");
    if let Some(path) = env::var_os(VARIABLE) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        sweep(words(&file));
        return;
    }
    let path = env::temp_dir().join(format!("ringfence-sweep-{}", std::process::id()));
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    let [arrivals, next] = words(&file);
    let (mut ended, mut arrived) = (Vec::new(), Vec::new());
    let bytes = jumps() / VARIANTS.len() as u64;
    while next.load(Ordering::SeqCst) < jumps() {
        let status = watch(&name, &path, next);
        let at = next.load(Ordering::SeqCst);
        let place = (at / bytes, at % bytes);
        if arrivals.swap(0, Ordering::SeqCst) != 0 {
            arrived.push(place);
            if arrived.iter().filter(|(variant, _)| *variant == place.0).count() == 3 {
                // Enough to know.
                next.store((place.0 + 1) * bytes - 1, Ordering::SeqCst);
            }
        } else if !status.success() {
            let may_be =
                [Some(libc::SIGSEGV), Some(libc::SIGILL), Some(libc::SIGTRAP)].contains(&status.signal());
            assert!(may_be, "after {place:?}: {status}");
            ended.push(place);
        }
        next.fetch_add(1, Ordering::SeqCst);
    }
    let _ = std::fs::remove_file(path);
    println!("{} jumps, of which the kernel ended the process at {ended:?}", jumps());
    assert!(
        arrived.is_empty(),
        "the attacker's code ran with the host's rights after (variant, offset) {arrived:?}"
    );
}

/// Runs a sweep in a process of its own, which must get on.
fn watch(name: &str, path: &Path, next: &AtomicU64) -> ExitStatus {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, path)
        .stdout(Stdio::null());
    let mut process = command.spawn().unwrap();
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        let now = next.load(Ordering::SeqCst);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            process.kill().unwrap();
            let bytes = jumps() / VARIANTS.len() as u64;
            panic!("the host hangs after (variant, offset) {:?}", (now / bytes, now % bytes));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Jump after jump, until the last one, or one that arrives.
fn sweep([arrivals, next]: &'static [AtomicU64; WORDS]) {
    LANDED.store(arrivals.as_ptr(), Ordering::SeqCst);
    let sandbox = with(Policy::compute(), limits().wall(Duration::from_secs(2)));
    assert_works(&sandbox);
    // Another thread that has been inside.
    let prepare = || {
        assert!(defended().call(plant, 0_u64).is_err());
        control_block()
    };
    beside(prepare, |others| {
        jump_from(&sandbox, [control_block(), others, u64::from(rights())], arrivals, next);
    });
}

fn jump_from(sandbox: &Sandbox, found: Found, arrivals: &AtomicU64, next: &AtomicU64) {
    let bytes = jumps() / VARIANTS.len() as u64;
    while next.load(Ordering::SeqCst) < jumps() {
        let at = next.load(Ordering::SeqCst);
        if may_return_far(address(ringfence_mpk_gate) + at % bytes) {
            next.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let before = (gs_base(), fs_base());
        // How it ends is the attacker's affair: some bytes are a way back to where it came from.
        let _ = sandbox.call(jump, (at / bytes, at % bytes, found));
        assert_eq!((gs_base(), fs_base()), before);
        assert_eq!(rights() & 3, 0, "the host may write its own memory");
        if arrivals.load(Ordering::SeqCst) != 0 {
            return;
        }
        if at.is_multiple_of(8) {
            assert_eq!(sandbox.call(|x: u64| x + 1, 41_u64).unwrap(), 42);
        }
        next.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether the jump may come to a far return, which QEMU carries out with the kernel's rights: the guest's kernel takes that for a fault of its own.
fn may_return_far(place: u64) -> bool {
    /// Bytes in which that is soon.
    const SOON: u64 = 8;
    // SAFETY: reads code of the gate, and of what follows it.
    let byte = |offset: u64| unsafe { ((place + offset) as *const u8).read() };
    let changes_rights = [byte(0), byte(1), byte(2)] == [0x0f, 0x01, 0xef];
    is_qemu() && !changes_rights && (0..SOON).map(byte).any(|byte| matches!(byte, 0xca | 0xcb | 0xcf))
}

/// Whether the processor is QEMU's own, without the help of a real one.
fn is_qemu() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat() == *b"TCGTCGTCGTCG"
}
