/* A return address under the compiler's guard. The one file compiled with -fstack-protector-all. */
#include "fixtures.h"

#include <string.h>

__attribute__((noinline)) static void fill(char *buffer, size_t bytes)
{
    memset(buffer, 'A', bytes);
    /* The buffer escapes: the stores are not dead. */
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

void stack_smash(void)
{
    char buffer[16];
    volatile size_t bytes = sizeof buffer + 32;
    fill(buffer, bytes);
}
