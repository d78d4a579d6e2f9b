//! System calls that would change the program.
//!
//! # Safety
//! The calls are made inside domains, which the backend does not let happen, and in forked children, which end.
#![expect(unsafe_code, reason = "bare system calls, and a shared segment")]

use std::arch::asm;
use std::io::Read;
use std::os::fd::AsRawFd;

use libtest_mimic::Trial;
use ringfence::{FaultKind, Sandbox};
use ringfence_testkit::alone::alone;
use ringfence_testkit::child::{self, End};

use super::calls::Control::{Ends, Gives, IsKnown, Succeeds};
use super::calls::{ATTACKS, Aim, Attack, Fate};
use super::machine::rights;
use super::support::{
    Page, assert_works, defended, fault, file, fill, mappings, signal_stack, syscall, title, trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    let module = module_path!();
    let attacks = ATTACKS.iter().map(|attack| {
        Trial::test(title(module, &format!("inside_{}", attack.wish)), || {
            attack.carry_out();
            Ok(())
        })
    });
    let others = trials! {
        inside_changes_the_program_by_any_of_these
    };
    attacks.chain(others).collect()
}

/// A segment of shared memory that goes when the last one who attached it does.
struct Segment(i32);

impl Segment {
    fn new() -> Self {
        // SAFETY: plain numbers.
        let number = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
        assert!(number >= 0);
        Self(number)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: removes this value's own.
        unsafe { libc::shmctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

/// What can be seen of the program from outside a domain.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    mask: u64,
    signal_stack: u64,
    segfault: usize,
    rights: u32,
}

impl Program {
    fn now() -> Self {
        let mut mask = 0_u64;
        syscall(libc::SYS_rt_sigprocmask, [0, 0, (&raw mut mask) as u64, 8, 0, 0]);
        let mut action = [0_usize; 4];
        syscall(libc::SYS_rt_sigaction, [libc::SIGSEGV as u64, 0, (&raw mut action) as u64, 8, 0, 0]);
        let signal_stack = signal_stack();
        Self { mask, signal_stack, segfault: action[0], rights: rights() }
    }
}

impl Attack {
    fn carry_out(self) {
        let (page, file, segment) = (Page::new(), file(), Segment::new());
        // SAFETY: asks only.
        let thread = unsafe { libc::gettid() } as u64;
        let aim =
            [page.address, file.as_raw_fd() as u64, segment.0 as u64, u64::from(std::process::id()), thread];
        let sandbox = defended();
        assert_works(&sandbox);
        self.check_control(aim);
        fill(&file);
        let before = Program::now();
        self.check(&sandbox, aim);
        assert_eq!(Program::now(), before);
        assert!(page.is_untouched());
        let mut text = String::new();
        (&file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "contents", "its descriptor is open, and the file as it was");
        assert_works(&sandbox);
    }

    fn check(self, sandbox: &Sandbox, aim: Aim) {
        let index = ATTACKS.iter().position(|attack| attack.wish == self.wish).unwrap();
        let result =
            sandbox.call(|(index, aim): (u64, Aim)| ATTACKS[index as usize].ask(aim), (index as u64, aim));
        match self.fate {
            Fate::Answer(errno) => assert_eq!(result.unwrap(), -i64::from(errno)),
            Fate::Exit(code) => assert_eq!(fault(result).kind(), &FaultKind::Exit { code }),
            Fate::Denied => {
                // The kernel tells the low half.
                let number = Some(i64::from(self.number as i32));
                assert_eq!(fault(result).kind(), &FaultKind::Syscall { number });
            }
        }
    }

    /// Asks the kernel. A child that comes of it ends.
    fn ask(self, aim: Aim) -> i64 {
        let [first, second, third, fourth, fifth, sixth] = (self.arguments)(aim);
        let answer: i64;
        // SAFETY: in a domain or a forked child: the attack.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "cmp r13d, 0",
                "je 2f",
                "mov eax, 60",
                "xor edi, edi",
                "syscall",
                "2:",
                inout("rax") self.number => answer,
                inout("rdi") first => _, in("rsi") second, in("rdx") third, in("r10") fourth, in("r8") fifth, in("r9") sixth,
                in("r13") u64::from(self.splits()),
                out("rcx") _, out("r11") _,
            );
        };
        answer
    }

    /// Whether the call returns twice.
    fn splits(self) -> bool {
        [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone].contains(&self.number)
    }

    fn check_control(self, aim: Aim) {
        let outcome = child::run(|| {
            let answer = self.ask(aim);
            let is_as_expected = match self.control {
                Succeeds => answer >= 0,
                Gives(expected) => answer == expected(aim),
                IsKnown => answer != -i64::from(libc::ENOSYS),
                Ends(_) => false,
            };
            if !is_as_expected {
                println!("{answer}");
            }
            i32::from(!is_as_expected) * 99
        });
        let outcome = outcome.unwrap();
        let expected = if let Ends(end) = self.control { end } else { End::Exit(0) };
        let said = String::from_utf8_lossy(&outcome.stdout);
        assert_eq!(outcome.end, expected, "the control: {said}");
    }
}

fn inside_changes_the_program_by_any_of_these() {
    alone(&title(module_path!(), "inside_changes_the_program_by_any_of_these"), || {
        let (page, file) = (Page::new(), file());
        let sandbox = defended();
        assert_works(&sandbox);
        let aim = [page.address, file.as_raw_fd() as u64, 0, u64::from(std::process::id()), 0];
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        // What the first faults leave behind for the next ones: symbols, a thread's cache of memory.
        for _ in 0..2 {
            ATTACKS.iter().for_each(|attack| attack.check(&sandbox, aim));
        }
        let before = (mappings(), descriptors(), threads());
        ATTACKS.iter().for_each(|attack| attack.check(&sandbox, aim));
        let after = (mappings(), descriptors(), threads());
        assert_eq!(before, after);
        let control = child::run(|| i32::from(ATTACKS[0].ask(aim) != 0 || mappings() == before.0));
        assert_eq!(control.unwrap().end, End::Exit(0), "the control: one of them changes what is compared");
    });
}
