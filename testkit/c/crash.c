/* Faults that the processor raises. */
#include "fixtures.h"

#include <sys/mman.h>
#include <unistd.h>

/* Pointers and what they point to are volatile: the compiler must neither see that a use is undefined nor drop it. */

void null_write(void)
{
    volatile int *volatile target = NULL;
    *target = 42;
}

long null_read(void)
{
    volatile long *volatile source = NULL;
    return *source;
}

void wild_jump(uintptr_t address)
{
    void (*volatile target)(void) = (void (*)(void))address;
    target();
    /* Keeps the jump a call, so that this function is in the backtrace. */
    __asm__ volatile("");
}

static volatile long depth_max = -1;

/* The result is used after the call, so that the call cannot become a jump. */
__attribute__((noinline)) static long recurse(long depth)
{
    volatile long frame[64];
    frame[0] = depth;
    if (depth == depth_max) {
        return depth;
    }
    return recurse(depth + 1) + frame[0];
}

long stack_overflow(void)
{
    return recurse(0);
}

int divide_by_zero(int dividend)
{
    volatile int divisor = 0;
    return dividend / divisor;
}

void illegal_instruction(void)
{
    __asm__ volatile("ud2");
}

/* The file behind the descriptor must be shorter than the page that is read: that page is mapped and has nothing behind it. */
long bus_error(int descriptor, long file_bytes)
{
    long page_bytes = sysconf(_SC_PAGESIZE);
    long start = (file_bytes + page_bytes - 1) / page_bytes * page_bytes;
    volatile char *page = mmap(NULL, (size_t)page_bytes, PROT_READ, MAP_SHARED, descriptor, start);
    if (page == MAP_FAILED) {
        return -(long)errno;
    }
    return page[0];
}
