/* Other processes: made, signalled, traced, written to. */
#include "fixtures.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The system call itself: a C library may run handlers of the program around its own fork. */
long fork_child(void)
{
    long pid = syscall(SYS_fork);
    if (pid == -1) {
        return -(long)errno;
    }
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    return pid;
}

long kill_parent(void)
{
    return RESULT_OR_ERRNO(kill(getppid(), SIGKILL));
}

long kill_process(int pid, int signal)
{
    return RESULT_OR_ERRNO(kill(pid, signal));
}

long tkill_thread(int tid, int signal)
{
    return RESULT_OR_ERRNO(syscall(SYS_tkill, tid, signal));
}

long tgkill_thread(int pid, int tid, int signal)
{
    return RESULT_OR_ERRNO(syscall(SYS_tgkill, pid, tid, signal));
}

long ptrace_attach(int pid)
{
    return RESULT_OR_ERRNO(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
}

long process_vm_write(int pid, uintptr_t address, const void *bytes, size_t length)
{
    struct iovec from = {.iov_base = (void *)bytes, .iov_len = length};
    struct iovec to = {.iov_base = (void *)address, .iov_len = length};
    return RESULT_OR_ERRNO(process_vm_writev(pid, &from, 1, &to, 1, 0));
}

long process_vm_read(int pid, uintptr_t address, void *out, size_t length)
{
    struct iovec to = {.iov_base = out, .iov_len = length};
    struct iovec from = {.iov_base = (void *)address, .iov_len = length};
    return RESULT_OR_ERRNO(process_vm_readv(pid, &to, 1, &from, 1, 0));
}

/* A limit that nothing here depends on, so that its change is evidence and does no harm. */
long prlimit_other(int pid, unsigned long message_queue_bytes)
{
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_MSGQUEUE, NULL, &limit) != 0) {
        return -(long)errno;
    }
    limit.rlim_cur = message_queue_bytes;
    return RESULT_OR_ERRNO(prlimit(pid, RLIMIT_MSGQUEUE, &limit, NULL));
}
