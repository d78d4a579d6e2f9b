/* System calls through every door, and executable memory. */
#include "fixtures.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

long x32_syscall(long number)
{
    const long x32_bit = 0x40000000;
    return raw_syscall(number | x32_bit, 0, 0, 0, 0, 0, 0);
}

/* Kernels before 4.17 clear r8 to r11 on this door. */
long int80_syscall(int number)
{
    int result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
                     : "r8", "r9", "r10", "r11", "memory");
    return result;
}

long set_pdeathsig_off(void)
{
    return RESULT_OR_ERRNO(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));
}

long set_dumpable(void)
{
    return RESULT_OR_ERRNO(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

/* mov $42, %eax; ret */
static const unsigned char forty_two[] = {0xb8, 42, 0, 0, 0, 0xc3};

static long execute(void *page)
{
    int (*volatile function)(void) = (int (*)(void))page;
    return function();
}

long mprotect_exec(void)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -(long)errno;
    }
    memcpy(page, forty_two, sizeof forty_two);
    long result = RESULT_OR_ERRNO(mprotect(page, page_bytes, PROT_READ | PROT_EXEC));
    if (result == 0) {
        result = execute(page);
    }
    munmap(page, page_bytes);
    return result;
}

long map_executable(void)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *page = mmap(NULL, page_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -(long)errno;
    }
    memcpy(page, forty_two, sizeof forty_two);
    long result = execute(page);
    munmap(page, page_bytes);
    return result;
}
