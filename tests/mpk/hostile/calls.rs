//! What an attacker may ask of the kernel to change the program, what becomes of it inside, and what outside.

use ringfence_testkit::child::End;

use super::support::syscall;
use Control::{Ends, Gives, IsKnown, Succeeds};

/// What an attack is aimed at: the page, the descriptor, a System V segment, this process, this thread.
pub(crate) type Aim = [u64; 5];

/// What the call comes to when the kernel is asked outside.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// Its answer is no error.
    Succeeds,
    /// It is this.
    Gives(fn(Aim) -> i64),
    /// The kernel knows the call and checks its arguments.
    IsKnown,
    /// The process ends so.
    Ends(End),
}

/// What becomes of it inside.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Denied,
    Exit(i32),
    Answer(i32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) wish: &'static str,
    pub(crate) number: i64,
    pub(crate) arguments: fn(Aim) -> [u64; 6],
    pub(crate) fate: Fate,
    pub(crate) control: Control,
}

const fn denied(wish: &'static str, number: i64, arguments: fn(Aim) -> [u64; 6], control: Control) -> Attack {
    Attack { wish, number, arguments, fate: Fate::Denied, control }
}

const fn answered(
    wish: &'static str,
    number: i64,
    errno: i32,
    arguments: fn(Aim) -> [u64; 6],
    control: Control,
) -> Attack {
    Attack { wish, number, arguments, fate: Fate::Answer(errno), control }
}

const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const EXECUTABLE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const FIXED: u64 = (libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const KILL: u64 = libc::SIGKILL as u64;
const ARCH_SET_GS: u64 = 0x1001;
const SHM_REMAP: u64 = 0o40000;
const DISPATCH: u64 = 59;
const HERE: u64 = libc::AT_FDCWD as u64;
const NONE: u64 = u64::MAX;

/// All signals, as a mask.
static EVERY: [u64; 1] = [u64::MAX];
/// `SECCOMP_RET_KILL_PROCESS`.
static KILL_ACTION: [u32; 1] = [0x8000_0000];
/// A `stack_t` that turns the signal stack off.
static ALTERNATIVE: [u64; 3] = [0, libc::SS_DISABLE as u64, 0];

/// The calling process, whoever it is: the thread of a forked child has the same number.
fn own_process() -> u64 {
    syscall(libc::SYS_getpid, [0; 6]).cast_unsigned()
}

/// In a child of `process`: its own number.
fn child_of(process: u64) -> i64 {
    let own = own_process();
    assert_ne!(own, process);
    own.cast_signed()
}

// One call a line, or what a list of this length says is lost.
#[rustfmt::skip]
pub(crate) const ATTACKS: &[Attack] = &[
    denied("takes_a_page_of_the_host_away", libc::SYS_mprotect, |[page, ..]| [page, 4096, 0, 0, 0, 0], Gives(|_| 0)),
    denied("makes_a_page_of_the_host_executable", libc::SYS_mprotect, |[page, ..]| [page, 4096, EXECUTABLE, 0, 0, 0], Gives(|_| 0)),
    denied("gives_a_page_of_the_host_another_key", libc::SYS_pkey_mprotect, |[page, ..]| [page, 4096, READ_WRITE, 0, 0, 0], Gives(|_| 0)),
    denied("frees_the_key_of_the_host", libc::SYS_pkey_free, |_| [0; 6], IsKnown),
    denied("frees_the_key_of_its_own", libc::SYS_pkey_free, |_| [1, 0, 0, 0, 0, 0], Gives(|_| 0)),
    denied("has_a_key_given_out", libc::SYS_pkey_alloc, |_| [0; 6], IsKnown),
    denied("unmaps_a_page_of_the_host", libc::SYS_munmap, |[page, ..]| [page, 4096, 0, 0, 0, 0], Gives(|_| 0)),
    denied("maps_over_a_page_of_the_host", libc::SYS_mmap, |[page, ..]| [page, 4096, READ_WRITE, FIXED, NONE, 0], Gives(|[page, ..]| page as i64)),
    denied("maps_executable_memory", libc::SYS_mmap, |_| [0, 4096, EXECUTABLE, FIXED & !0x10, NONE, 0], Succeeds),
    denied("moves_a_page_of_the_host", libc::SYS_mremap, |[page, ..]| [page, 4096, 8192, 1, 0, 0], Succeeds),
    denied("moves_the_end_of_the_heap", libc::SYS_brk, |_| [0; 6], Succeeds),
    denied("attaches_a_segment_over_a_page_of_the_host", libc::SYS_shmat, |[page, _, segment, ..]| [segment, page, SHM_REMAP, 0, 0, 0], Gives(|[page, ..]| page as i64)),
    denied("empties_a_page_of_the_host", libc::SYS_madvise, |[page, ..]| [page, 4096, libc::MADV_DONTNEED as u64, 0, 0, 0], Gives(|_| 0)),
    denied("handles_page_faults", libc::SYS_userfaultfd, |_| [0; 6], Succeeds),
    denied("remaps_the_pages_of_a_file", libc::SYS_remap_file_pages, |[page, ..]| [page, 4096, 0, 0, 0, 0], IsKnown),
    answered("opens_the_memory_of_the_process", libc::SYS_openat, libc::EACCES, |_| [HERE, c"/proc/self/mem".as_ptr() as u64, libc::O_RDWR as u64, 0, 0, 0], Succeeds),
    answered("opens_the_memory_of_the_process_in_the_old_way", libc::SYS_open, libc::EACCES, |_| [c"/proc/self/mem".as_ptr() as u64, libc::O_RDWR as u64, 0, 0, 0, 0], Succeeds),
    denied("opens_a_file_by_its_handle", libc::SYS_open_by_handle_at, |_| [0; 6], IsKnown),
    denied("writes_through_the_kernel", libc::SYS_process_vm_writev, |[page, _, _, process, _]| [process, page, 0, page, 0, 0], Gives(|_| 0)),
    denied("reads_through_the_kernel", libc::SYS_process_vm_readv, |[page, _, _, process, _]| [process, page, 0, page, 0, 0], Gives(|_| 0)),
    denied("advises_on_the_memory_of_the_process", libc::SYS_process_madvise, |_| [NONE, 0, 0, 0, 0, 0], IsKnown),
    denied("traces", libc::SYS_ptrace, |_| [libc::PTRACE_TRACEME as u64, 0, 0, 0, 0, 0], Gives(|_| 0)),
    denied("gets_a_ring", libc::SYS_io_uring_setup, |[page, ..]| [1, page, 0, 0, 0, 0], IsKnown),
    denied("has_files_read_behind_its_back", libc::SYS_io_setup, |[page, ..]| [1, page, 0, 0, 0, 0], IsKnown),
    denied("handles_faults_itself", libc::SYS_rt_sigaction, |_| [libc::SIGSEGV as u64, 0, 0, 8, 0, 0], Gives(|_| 0)),
    denied("moves_the_signal_stack", libc::SYS_sigaltstack, |_| [ALTERNATIVE.as_ptr() as u64, 0, 0, 0, 0, 0], Gives(|_| 0)),
    denied("blocks_every_signal", libc::SYS_rt_sigprocmask, |_| [libc::SIG_SETMASK as u64, EVERY.as_ptr() as u64, 0, 8, 0, 0], Gives(|_| 0)),
    denied("takes_signals_by_a_descriptor", libc::SYS_signalfd4, |_| [NONE, EVERY.as_ptr() as u64, 8, 0, 0, 0], Succeeds),
    denied("forks", libc::SYS_fork, |_| [0; 6], Succeeds),
    denied("forks_and_shares_memory", libc::SYS_vfork, |_| [0; 6], Succeeds),
    denied("clones", libc::SYS_clone, |_| [libc::SIGCHLD as u64, 0, 0, 0, 0, 0], Succeeds),
    answered("starts_a_thread", libc::SYS_clone, libc::EAGAIN, |_| [libc::CLONE_THREAD as u64, 0, 0, 0, 0, 0], IsKnown),
    answered("clones_in_the_new_way", libc::SYS_clone3, libc::ENOSYS, |_| [0; 6], IsKnown),
    denied("becomes_another_program", libc::SYS_execve, |_| [0; 6], IsKnown),
    denied("becomes_another_program_by_a_descriptor", libc::SYS_execveat, |_| [0; 6], IsKnown),
    denied("sets_a_segment_base", libc::SYS_arch_prctl, |[page, ..]| [ARCH_SET_GS, page, 0, 0, 0, 0], Gives(|_| 0)),
    denied("gets_a_segment_of_its_own", libc::SYS_modify_ldt, |[page, ..]| [0, page, 8, 0, 0, 0], Gives(|_| 0)),
    denied("has_a_word_cleared_when_the_thread_ends", libc::SYS_set_tid_address, |[page, ..]| [page, 0, 0, 0, 0, 0], Gives(|[.., process, _]| child_of(process))),
    denied("has_locks_released_when_the_thread_ends", libc::SYS_set_robust_list, |[page, ..]| [page, 24, 0, 0, 0, 0], Gives(|_| 0)),
    denied("has_its_sequences_restarted", libc::SYS_rseq, |[page, ..]| [page, 32, 0, 0x5305_3053, 0, 0], IsKnown),
    denied("adds_a_filter", libc::SYS_seccomp, |_| [2, 0, KILL_ACTION.as_ptr() as u64, 0, 0, 0], Gives(|_| 0)),
    denied("turns_the_filter_off", libc::SYS_prctl, |_| [DISPATCH, 0, 0, 0, 0, 0], Gives(|_| 0)),
    denied("makes_the_filter_look_elsewhere", libc::SYS_prctl, |[page, ..]| [DISPATCH, 1, 0, 0, page, 0], Ends(End::Signal(libc::SIGSYS))),
    denied("becomes_another_personality", libc::SYS_personality, |_| [0xffff_ffff, 0, 0, 0, 0, 0], Succeeds),
    denied("leaves_the_namespaces", libc::SYS_unshare, |_| [0; 6], Gives(|_| 0)),
    denied("watches_the_program_by_counters", libc::SYS_perf_event_open, |_| [0; 6], IsKnown),
    denied("loads_a_program_into_the_kernel", libc::SYS_bpf, |_| [NONE, 0, 0, 0, 0, 0], IsKnown),
    denied("has_a_signal_sent_later", libc::SYS_alarm, |_| [1000, 0, 0, 0, 0, 0], Succeeds),
    denied("has_signals_sent_again_and_again", libc::SYS_setitimer, |[page, ..]| [9, page, 0, 0, 0, 0], IsKnown),
    denied("kills_the_process", libc::SYS_kill, |_| [own_process(), KILL, 0, 0, 0, 0], Ends(End::Signal(libc::SIGKILL))),
    denied("kills_the_thread", libc::SYS_tgkill, |_| [own_process(), own_process(), KILL, 0, 0, 0], Ends(End::Signal(libc::SIGKILL))),
    denied("kills_by_thread_number", libc::SYS_tkill, |_| [own_process(), KILL, 0, 0, 0, 0], Ends(End::Signal(libc::SIGKILL))),
    denied("duplicates_a_descriptor_over_another", libc::SYS_dup2, |[_, number, ..]| [number, 1, 0, 0, 0, 0], Gives(|_| 1)),
    denied("duplicates_a_descriptor", libc::SYS_dup, |[_, number, ..]| [number, 0, 0, 0, 0, 0], Succeeds),
    denied("closes_every_descriptor", libc::SYS_close_range, |_| [3, 0xffff_ffff, 0, 0, 0, 0], Gives(|_| 0)),
    denied("opens_a_socket", libc::SYS_socket, |_| [1, 1, 0, 0, 0, 0], Succeeds),
    denied("makes_a_file_in_memory", libc::SYS_memfd_create, |_| [c"inside".as_ptr() as u64, 0, 0, 0, 0, 0], Succeeds),
    denied("changes_the_directory", libc::SYS_chdir, |_| [c"/".as_ptr() as u64, 0, 0, 0, 0, 0], Gives(|_| 0)),
    denied("makes_a_call_there_is_not", 511, |_| [0; 6], Gives(|_| -i64::from(libc::ENOSYS))),
    denied("makes_a_call_with_a_huge_number", i64::MAX, |_| [0; 6], Gives(|_| -i64::from(libc::ENOSYS))),
    answered("closes_a_descriptor_of_the_host", libc::SYS_close, libc::EBADF, |[_, number, ..]| [number, 0, 0, 0, 0, 0], Gives(|_| 0)),
    answered("writes_to_a_descriptor_of_the_host", libc::SYS_write, libc::EBADF, |[page, number, ..]| [number, page, 8, 0, 0, 0], Gives(|_| 8)),
    answered("truncates_a_file_of_the_host", libc::SYS_ioctl, libc::EACCES, |[_, number, ..]| [number, 0, 0, 0, 0, 0], IsKnown),
    Attack { wish: "ends_the_thread", number: libc::SYS_exit, arguments: |_| [3, 0, 0, 0, 0, 0], fate: Fate::Exit(3), control: Ends(End::Exit(3)) },
    Attack { wish: "ends_the_program", number: libc::SYS_exit_group, arguments: |_| [4, 0, 0, 0, 0, 0], fate: Fate::Exit(4), control: Ends(End::Exit(4)) },
];
