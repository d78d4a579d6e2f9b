//! The system-call filters: what computing needs, what the zygote needs on top, and what a worker gives up again.
//!
//! Filters stack, and the strictest answer wins (`seccomp(2)`). The hot calls are decided by number alone, so that the kernel's
//! cache answers them without running the filter.

use libc::c_long;
use nix::errno::Errno;
use ringfence_core::{Confinement, FILE_CALLS, Limits, Policy, Processes};
use seccompiler::{BpfProgram, apply_filter};

use crate::confine::program::{Rule, Rules, assemble};

/// What computing needs, whatever the arguments.
const COMPUTE: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fdatasync,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_membarrier,
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
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_pause,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What the zygote needs to make workers, and a worker to become one.
const ZYGOTE: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_kill,
    libc::SYS_waitid,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_dup2,
    libc::SYS_prctl,
    libc::SYS_setpgid,
    libc::SYS_prlimit64,
    libc::SYS_seccomp,
    libc::SYS_pidfd_send_signal,
    libc::SYS_sched_setscheduler,
];

/// Advice on one's own memory that changes nothing for anyone else: from `MADV_NORMAL` to `MADV_DONTNEED`, `MADV_FREE`, `MADV_HUGEPAGE`,
/// `MADV_NOHUGEPAGE`, what concerns dumps and forks, `MADV_COLD`, `MADV_PAGEOUT` and populating. Not `MADV_REMOVE`, which reaches through a
/// shared mapping, nor `MADV_HWPOISON`, which reaches the machine.
const ADVICE: &[u32] = &[0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/// Namespaces, and children that are not the isolate's own.
const ESCAPING: u32 = (libc::CLONE_PARENT
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The compiled filters of one sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    programs: Option<Programs>,
}

#[derive(Debug, Clone)]
struct Programs {
    /// For the zygote; workers inherit it.
    zygote: BpfProgram,
    /// For a worker, on top.
    worker: BpfProgram,
    /// For a snapshot, on its own.
    snapshot: BpfProgram,
}

impl Filters {
    /// Compiles the filters of a policy. No filters for [`Confinement::Unfiltered`].
    pub(crate) fn compile(policy: &Policy, limits: &Limits) -> Self {
        if policy.confinement() == Confinement::Unfiltered {
            return Self::default();
        }
        let compute = compute_rules(policy, limits.process_limit());
        let mut zygote = compute.clone();
        zygote.extend(ZYGOTE.iter().map(|&call| (call, Rule::Allow)));
        let programs = Programs {
            zygote: assemble(&zygote, Rule::Trap),
            worker: assemble(&seal_rules(&compute), Rule::Allow),
            snapshot: assemble(&compute, Rule::Trap),
        };
        Self { programs: Some(programs) }
    }

    /// Whether there is nothing to apply.
    pub(crate) fn is_empty(&self) -> bool {
        self.programs.is_none()
    }

    /// Confines the zygote.
    pub(crate) fn apply_to_zygote(&self) -> Result<(), Errno> {
        self.programs.as_ref().map_or(Ok(()), |programs| apply(&programs.zygote))
    }

    /// Confines a worker, which inherited the zygote's.
    pub(crate) fn apply_to_worker(&self) -> Result<(), Errno> {
        self.programs.as_ref().map_or(Ok(()), |programs| apply(&programs.worker))
    }

    /// Confines a snapshot.
    pub(crate) fn apply_to_snapshot(&self) -> Result<(), Errno> {
        self.programs.as_ref().map_or(Ok(()), |programs| apply(&programs.snapshot))
    }
}

fn apply(program: &BpfProgram) -> Result<(), Errno> {
    apply_filter(program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
        }
        _ => Errno::EINVAL,
    })
}

/// What a worker or snapshot may call, with the arguments it may use.
fn compute_rules(policy: &Policy, processes: Processes) -> Rules {
    let mut rules: Rules = COMPUTE.iter().map(|&call| (call, Rule::Allow)).collect();
    rules.extend(FILE_CALLS.iter().map(|&call| (call, Rule::Refuse(libc::EACCES as u16))));
    // Memory may not become executable: no code but what is there already.
    let not_executable = Rule::Masked { argument: 2, mask: libc::PROT_EXEC as u32, value: 0 };
    rules.insert(libc::SYS_mmap, not_executable);
    rules.insert(libc::SYS_mprotect, not_executable);
    rules.insert(libc::SYS_madvise, Rule::OneOf { argument: 2, values: ADVICE });
    // Reading one's own limits, never setting any, never another process's.
    rules.insert(libc::SYS_prlimit64, Rule::Zero { arguments: [0, 2] });
    const READ_FLAGS: &[u32] = &[libc::F_GETFD as u32, libc::F_GETFL as u32];
    rules.insert(libc::SYS_fcntl, Rule::OneOf { argument: 1, values: READ_FLAGS });
    let thread = libc::CLONE_THREAD as u32;
    match processes {
        Processes::Forbidden => {
            // Code that can do without a thread goes on; a fork is a fault.
            let errno = libc::EAGAIN as u16;
            rules.insert(libc::SYS_clone, Rule::RefuseMasked { argument: 0, mask: thread, errno });
        }
        Processes::Threads => {
            let threads_only = Rule::Masked { argument: 0, mask: thread | ESCAPING, value: thread };
            rules.insert(libc::SYS_clone, threads_only);
        }
        Processes::Allowed => {
            rules.insert(libc::SYS_clone, Rule::Masked { argument: 0, mask: ESCAPING, value: 0 });
            rules.extend([libc::SYS_fork, libc::SYS_vfork, libc::SYS_wait4].map(|call| (call, Rule::Allow)));
        }
    }
    // glibc tries clone3 first, whose flags lie in memory that a filter cannot see, and falls back to clone on ENOSYS.
    rules.insert(libc::SYS_clone3, Rule::Refuse(libc::ENOSYS as u16));
    if processes != Processes::Forbidden {
        // Threads name themselves.
        rules.insert(libc::SYS_prctl, Rule::OneOf { argument: 0, values: &[libc::PR_SET_NAME as u32] });
    }
    rules.extend(policy.allowed_syscalls().iter().map(|&call| (call, Rule::Allow)));
    rules
}

/// What a worker gives up of the zygote's calls, so that what remains is what computing may do with them.
fn seal_rules(compute: &Rules) -> Rules {
    ZYGOTE.iter().map(|&call| (call, compute.get(&call).copied().unwrap_or(Rule::Trap))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfiltered_has_no_filter() {
        assert!(Filters::compile(&Policy::unfiltered(), &Limits::new()).is_empty());
        assert!(!Filters::compile(&Policy::compute(), &Limits::new()).is_empty());
    }

    #[test]
    fn what_the_zygote_has_and_computing_has_not_is_sealed() {
        for processes in [Processes::Forbidden, Processes::Threads, Processes::Allowed] {
            let compute = compute_rules(&Policy::compute(), processes);
            let seal = seal_rules(&compute);
            for call in ZYGOTE {
                let left = seal.get(call).copied();
                assert_eq!(left, Some(compute.get(call).copied().unwrap_or(Rule::Trap)), "call {call}");
                assert_ne!(left, Some(Rule::Allow), "call {call} stays open in a worker");
            }
        }
    }

    #[test]
    fn a_call_the_policy_allows_stays_open() {
        let compute = compute_rules(&Policy::compute().allow_syscall(libc::SYS_kill), Processes::Forbidden);
        assert_eq!(seal_rules(&compute).get(&libc::SYS_kill), Some(&Rule::Allow));
    }
}
