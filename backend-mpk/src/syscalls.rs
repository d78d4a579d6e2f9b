//! Which system calls code inside may make, and with what arguments.
//!
//! A domain is part of the program: a call that would change the program (its memory, its descriptors, its signals, its threads) is
//! not made. What is made is made with the domain's rights, so the kernel writes nowhere the domain could not. Descriptors are the lent ones; 0 and 1
//! are the null device and 2 is a capture.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use libc::c_long;
use ringfence_core::{Confinement, FILE_CALLS, Policy};

use crate::control::selector;

/// What comes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is made, with this first argument.
    Make {
        /// The first argument.
        first: u64,
    },
    /// It is not made, and answers with this error number.
    Answer(i32),
    /// It ends the crossing.
    Deny,
}

/// Calls that change nothing but the memory they are told to write, which the domain's rights bound.
const HARMLESS: &[c_long] = &[
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_restart_syscall,
];

/// Calls on a descriptor.
const ON_DESCRIPTORS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fdatasync,
];

/// What a number in the table stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Deny,
    Make,
    Refuse(i32),
    /// The first argument is a descriptor.
    Descriptor,
    /// `close`: the descriptor stays open for the program.
    Close,
    /// `fcntl` that asks.
    Flags,
    /// `futex` that waits or wakes.
    Futex,
    /// `prlimit64` of oneself that asks.
    Limits,
    /// `clone`: a thread is refused, a fork is denied.
    Clone,
    /// `rt_sigprocmask` that asks.
    Mask,
}

/// Numbers beyond every call there is.
const NUMBERS: usize = 512;

/// The rules of one sandbox.
#[derive(Debug)]
pub(crate) struct Rules {
    table: Box<[Rule; NUMBERS]>,
    lent: Vec<Arc<OwnedFd>>,
    null: OwnedFd,
    selector: u8,
}

impl Rules {
    /// The rules of a policy. `null` stands for descriptors 0 and 1.
    pub(crate) fn new(policy: &Policy, null: OwnedFd) -> Self {
        let mut table = Box::new([Rule::Deny; NUMBERS]);
        let mut set = |call: c_long, rule| {
            if let Some(place) = usize::try_from(call).ok().and_then(|number| table.get_mut(number)) {
                *place = rule;
            }
        };
        HARMLESS.iter().for_each(|&call| set(call, Rule::Make));
        ON_DESCRIPTORS.iter().for_each(|&call| set(call, Rule::Descriptor));
        FILE_CALLS.iter().for_each(|&call| set(call, Rule::Refuse(libc::EACCES)));
        set(libc::SYS_close, Rule::Close);
        set(libc::SYS_fcntl, Rule::Flags);
        set(libc::SYS_futex, Rule::Futex);
        set(libc::SYS_prlimit64, Rule::Limits);
        set(libc::SYS_clone, Rule::Clone);
        set(libc::SYS_clone3, Rule::Refuse(libc::ENOSYS));
        set(libc::SYS_rt_sigprocmask, Rule::Mask);
        policy.allowed_syscalls().iter().for_each(|&call| set(call, Rule::Make));
        let selector = match policy.confinement() {
            Confinement::Unfiltered => selector::ALLOW,
            _ => selector::BLOCK,
        };
        Self { table, lent: policy.lent().to_vec(), null, selector }
    }

    /// What the selector is inside.
    pub(crate) fn selector(&self) -> u8 {
        self.selector
    }

    /// What comes of a call with these first three arguments. Takes no lock and allocates nothing.
    pub(crate) fn decide(&self, number: i64, [first, second, third]: [u64; 3], capture: RawFd) -> Decision {
        let rule = usize::try_from(number).ok().and_then(|number| self.table.get(number));
        let make = Decision::Make { first };
        match rule.copied().unwrap_or(Rule::Deny) {
            Rule::Deny => Decision::Deny,
            Rule::Make => make,
            Rule::Refuse(errno) => Decision::Answer(errno),
            Rule::Descriptor => self.on_descriptor(first, capture),
            Rule::Close => match self.on_descriptor(first, capture) {
                Decision::Make { .. } => Decision::Answer(libc::EPERM),
                refused => refused,
            },
            Rule::Flags => match second as u32 as i32 {
                libc::F_GETFD | libc::F_GETFL => self.on_descriptor(first, capture),
                _ => Decision::Deny,
            },
            Rule::Futex => match second as u32 as i32
                & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME)
            {
                libc::FUTEX_WAIT | libc::FUTEX_WAKE | libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAKE_BITSET => {
                    make
                }
                _ => Decision::Deny,
            },
            Rule::Limits if first as u32 == 0 && third == 0 => make,
            Rule::Clone if first as u32 as i32 & libc::CLONE_THREAD != 0 => Decision::Answer(libc::EAGAIN),
            Rule::Mask if second == 0 => make,
            Rule::Limits | Rule::Clone | Rule::Mask => Decision::Deny,
        }
    }

    fn on_descriptor(&self, number: u64, capture: RawFd) -> Decision {
        // The kernel takes the low half (`unsigned int fd`).
        let number = number as u32 as i32;
        let is_lent = || self.lent.iter().any(|lent| lent.as_raw_fd() == number);
        let stands_for = match number {
            0 | 1 => self.null.as_fd().as_raw_fd(),
            2 => capture,
            _ if is_lent() => number,
            _ => return Decision::Answer(libc::EBADF),
        };
        u64::try_from(stands_for).map_or(Decision::Answer(libc::EBADF), |first| Decision::Make { first })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const CAPTURE: RawFd = 700;

    fn rules(policy: &Policy) -> (Rules, u64) {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let number = null.as_raw_fd() as u64;
        (Rules::new(policy, null), number)
    }

    #[test]
    fn descriptors_are_the_lent_ones() {
        let lent = File::open("/dev/zero").unwrap();
        let lent_number = lent.as_raw_fd() as u64;
        let (rules, null) = rules(&Policy::compute().lend(lent));
        let write = |number: u64| rules.decide(libc::SYS_write, [number, 0, 0], CAPTURE);
        assert_eq!(write(1), Decision::Make { first: null });
        assert_eq!(write(2), Decision::Make { first: CAPTURE as u64 });
        assert_eq!(write(lent_number), Decision::Make { first: lent_number });
        assert_eq!(
            write(lent_number | 1 << 32),
            Decision::Make { first: lent_number },
            "as the kernel takes it"
        );
        assert_eq!(write(null), Decision::Answer(libc::EBADF), "open, and not lent");
        assert_eq!(write(u64::MAX), Decision::Answer(libc::EBADF));
        let close = |number: u64| rules.decide(libc::SYS_close, [number, 0, 0], CAPTURE);
        assert_eq!(
            (close(1), close(lent_number)),
            (Decision::Answer(libc::EPERM), Decision::Answer(libc::EPERM))
        );
        assert_eq!(close(null), Decision::Answer(libc::EBADF));
    }

    #[test]
    fn what_changes_the_program_is_denied() {
        let (rules, _) = rules(&Policy::compute());
        for call in [
            libc::SYS_mprotect,
            libc::SYS_pkey_mprotect,
            libc::SYS_pkey_alloc,
            libc::SYS_pkey_free,
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_shmat,
            libc::SYS_process_vm_writev,
            libc::SYS_process_vm_readv,
            libc::SYS_ptrace,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_prctl,
            libc::SYS_arch_prctl,
            libc::SYS_modify_ldt,
            libc::SYS_set_tid_address,
            libc::SYS_set_robust_list,
            libc::SYS_rseq,
            libc::SYS_seccomp,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_execve,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_kill,
            libc::SYS_tgkill,
        ] {
            assert_eq!(rules.decide(call, [0; 3], CAPTURE), Decision::Deny, "call {call}");
        }
        for number in [-1, 512, i64::MAX, i64::MIN, 1 << 30] {
            assert_eq!(rules.decide(number, [0; 3], CAPTURE), Decision::Deny);
        }
    }

    #[test]
    fn arguments_count() {
        let (rules, _) = rules(&Policy::compute());
        let decide = |call, arguments| rules.decide(call, arguments, CAPTURE);
        assert_eq!(decide(libc::SYS_rt_sigprocmask, [0, 0, 8]), Decision::Make { first: 0 });
        assert_eq!(decide(libc::SYS_rt_sigprocmask, [0, 8, 0]), Decision::Deny);
        assert_eq!(decide(libc::SYS_prlimit64, [0, 3, 8]), Decision::Deny);
        assert_eq!(
            decide(libc::SYS_clone, [libc::CLONE_THREAD as u64, 0, 0]),
            Decision::Answer(libc::EAGAIN)
        );
        assert_eq!(decide(libc::SYS_clone, [0, 0, 0]), Decision::Deny);
        let lock_pi = libc::FUTEX_LOCK_PI as u64;
        assert_eq!(decide(libc::SYS_futex, [64, lock_pi, 0]), Decision::Deny);
        assert_eq!(decide(libc::SYS_openat, [0; 3]), Decision::Answer(libc::EACCES));
    }

    #[test]
    fn a_policy_allows_more() {
        let (rules, _) = rules(&Policy::compute().allow_syscall(libc::SYS_kill));
        assert_eq!(rules.decide(libc::SYS_kill, [5, 0, 0], CAPTURE), Decision::Make { first: 5 });
    }
}
