//! The system-call filters: what computing needs, what the zygote needs on top, and what a worker gives up again.
//!
//! Filters stack, and the strictest answer wins (`seccomp(2)`). The hot calls are decided by number alone, so that the kernel's
//! cache answers them without running the filter.

use std::collections::BTreeMap;

use libc::c_long;
use nix::errno::Errno;
use ringfence_core::{Confinement, Error, Limits, Policy, Processes};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

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
    libc::SYS_madvise,
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

/// What libraries try and do without: answered with `EACCES`.
const REFUSED: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_ioctl,
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

/// The compiled filters of one sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    /// For the zygote; workers inherit them.
    zygote: Vec<BpfProgram>,
    /// For a worker, on top.
    worker: Vec<BpfProgram>,
    /// For a snapshot, on its own.
    snapshot: Vec<BpfProgram>,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Filters {
    /// Compiles the filters of a policy. No filters for [`Confinement::Unfiltered`].
    pub(crate) fn compile(policy: &Policy, limits: &Limits) -> Result<Self, Error> {
        if policy.confinement() == Confinement::Unfiltered {
            return Ok(Self::default());
        }
        let compiled = Self::build(policy, limits);
        compiled.map_err(|_| Error::os("compile the system-call filter", Errno::EINVAL))
    }

    fn build(policy: &Policy, limits: &Limits) -> Result<Self, seccompiler::BackendError> {
        let compute = compute_rules(policy, limits.process_limit())?;
        let mut zygote = compute.clone();
        zygote.extend(ZYGOTE.iter().map(|&call| (call, Vec::new())));
        let allow = |rules| program(rules, SeccompAction::Trap, SeccompAction::Allow);
        let deny = |rules, answer| program(rules, SeccompAction::Allow, answer);

        let refused = REFUSED.iter().filter(|call| !policy.allowed_syscalls().contains(call));
        let refused: Rules = refused.map(|&call| (call, Vec::new())).collect();
        let refuse = deny(refused, SeccompAction::Errno(libc::EACCES as u32))?;
        // glibc tries clone3 first, whose flags lie in memory that a filter cannot see, and falls back to clone on ENOSYS.
        let clone3 = deny(
            Rules::from([(libc::SYS_clone3, Vec::new())]),
            SeccompAction::Errno(libc::ENOSYS as u32),
        )?;
        let seal = deny(seal_rules(&compute, limits.process_limit())?, SeccompAction::Trap)?;

        Ok(Self {
            zygote: vec![refuse.clone(), clone3.clone(), allow(zygote)?],
            worker: vec![seal],
            // The allow-list last: it denies what applying another filter takes.
            snapshot: vec![refuse, clone3, allow(compute)?],
        })
    }

    /// Whether there is anything to apply.
    pub(crate) fn is_empty(&self) -> bool {
        self.zygote.is_empty()
    }

    /// Confines the zygote.
    pub(crate) fn apply_to_zygote(&self) -> Result<(), Errno> {
        apply(&self.zygote)
    }

    /// Confines a worker, which inherited the zygote's.
    pub(crate) fn apply_to_worker(&self) -> Result<(), Errno> {
        apply(&self.worker)
    }

    /// Confines a snapshot.
    pub(crate) fn apply_to_snapshot(&self) -> Result<(), Errno> {
        apply(&self.snapshot)
    }
}

fn apply(programs: &[BpfProgram]) -> Result<(), Errno> {
    programs.iter().try_for_each(|program| {
        apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
                error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
            }
            _ => Errno::EINVAL,
        })
    })
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64)?.try_into()
}

/// What a worker or snapshot may call, with the arguments it may use.
fn compute_rules(policy: &Policy, processes: Processes) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = COMPUTE.iter().chain(REFUSED).map(|&call| (call, Vec::new())).collect();
    // Memory may not become executable: no code but what is there already.
    let not_executable = || masked(2, libc::PROT_EXEC as u64, 0);
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![not_executable()?])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![not_executable()?])?]);
    // Reading one's own limits, never setting any, never another process's.
    let own_limits = vec![equal(0, 0)?, equal(2, 0)?];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(own_limits)?]);
    let commands = [libc::F_GETFD, libc::F_GETFL];
    let commands = commands.iter().map(|&command| SeccompRule::new(vec![equal(1, command as u64)?]));
    rules.insert(libc::SYS_fcntl, commands.collect::<Result<_, _>>()?);
    match processes {
        Processes::Forbidden => {}
        Processes::Threads => {
            let thread = masked(0, libc::CLONE_THREAD as u64, libc::CLONE_THREAD as u64)?;
            rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
            rules.insert(libc::SYS_clone3, Vec::new());
        }
        Processes::Allowed => {
            for call in [libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork, libc::SYS_wait4] {
                rules.insert(call, Vec::new());
            }
        }
    }
    rules.extend(policy.allowed_syscalls().iter().map(|&call| (call, Vec::new())));
    Ok(rules)
}

/// What a worker gives up of the zygote's calls, so that what remains is what `compute` allows.
fn seal_rules(compute: &Rules, processes: Processes) -> Result<Rules, seccompiler::BackendError> {
    let mut rules = Rules::new();
    for &call in ZYGOTE {
        match compute.get(&call) {
            None => {
                rules.insert(call, Vec::new());
            }
            Some(allowed) if allowed.is_empty() => {}
            Some(_) => {
                rules.insert(call, refused_arguments(call, processes)?);
            }
        }
    }
    Ok(rules)
}

/// The complement of what [`compute_rules`] allows of a call that is checked by its arguments.
fn refused_arguments(
    call: c_long,
    processes: Processes,
) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let one = |condition: SeccompCondition| SeccompRule::new(vec![condition]);
    match call {
        libc::SYS_prlimit64 => Ok(vec![one(different(0, 0)?)?, one(different(2, 0)?)?]),
        libc::SYS_clone if processes == Processes::Threads => {
            Ok(vec![one(masked(0, libc::CLONE_THREAD as u64, 0)?)?])
        }
        // A call with conditions that has no complement here is given up whole.
        _ => Ok(Vec::new()),
    }
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn different(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_compiles_and_unfiltered_has_no_filter() {
        for processes in [Processes::Forbidden, Processes::Threads, Processes::Allowed] {
            let limits = Limits::new().processes(processes);
            assert!(!Filters::compile(&Policy::compute(), &limits).unwrap().is_empty());
        }
        assert!(Filters::compile(&Policy::unfiltered(), &Limits::new()).unwrap().is_empty());
    }

    #[test]
    fn what_the_zygote_has_and_computing_has_not_is_sealed() {
        let compute = compute_rules(&Policy::compute(), Processes::Forbidden).unwrap();
        let seal = seal_rules(&compute, Processes::Forbidden).unwrap();
        for call in ZYGOTE {
            assert!(seal.contains_key(call), "call {call} stays open in a worker");
        }
        assert!(seal[&libc::SYS_clone].is_empty() && seal[&libc::SYS_kill].is_empty());
        assert!(!seal.contains_key(&libc::SYS_mmap), "plain mmap must stay possible");
    }
}
