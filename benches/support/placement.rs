//! On which CPU a child runs.
//!
//! A wake across CPUs costs an interrupt, and on a virtual machine several VM exits; a switch on one CPU costs neither. Left
//! alone, the scheduler picks one or the other, and medians flip between the two.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// The rule for a child's CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The scheduler decides.
    Scheduler,
    /// The child's affinity is the caller's CPU.
    Follow,
    /// The child's affinity is every allowed CPU but the caller's.
    Avoid,
}

impl Rule {
    /// What a row's name says about the rule.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Scheduler => "free",
            Self::Follow => "same CPU",
            Self::Avoid => "other CPU",
        }
    }
}

/// Keeps one child where its rule wants it.
pub(crate) struct Placement {
    rule: Rule,
    child: Pid,
    allowed: CpuSet,
    caller_cpu: Option<usize>,
}

impl Placement {
    /// # Errors
    /// `Unsupported` for [`Rule::Avoid`] where the caller may use only one CPU.
    pub(crate) fn new(rule: Rule, child: Pid) -> io::Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).count();
        if rule == Rule::Avoid && cpus < 2 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "there is only one CPU"));
        }
        Ok(Self { rule, child, allowed, caller_cpu: None })
    }

    /// Moves the child if the caller's CPU has changed.
    ///
    /// Cost: one `getcpu` from the vDSO; one `sched_setaffinity` when it changed.
    pub(crate) fn apply(&mut self) -> io::Result<()> {
        if self.rule == Rule::Scheduler {
            return Ok(());
        }
        let cpu = sched_getcpu()?;
        if self.caller_cpu == Some(cpu) {
            return Ok(());
        }
        let wanted = match self.rule {
            Rule::Avoid => {
                let mut others = self.allowed;
                others.unset(cpu)?;
                others
            }
            Rule::Follow | Rule::Scheduler => only(cpu)?,
        };
        sched_setaffinity(self.child, &wanted)?;
        self.caller_cpu = Some(cpu);
        Ok(())
    }
}

/// The set of one CPU.
pub(crate) fn only(cpu: usize) -> io::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(set)
}
