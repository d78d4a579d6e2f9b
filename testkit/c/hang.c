/* Ways not to come back. */
#include "fixtures.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

void endless_loop(void)
{
    for (volatile unsigned long turns = 0;; turns++) {
    }
}

long blocking_read(int descriptor)
{
    char byte;
    return RESULT_OR_ERRNO(read(descriptor, &byte, 1));
}

void sleep_forever(void)
{
    const struct timespec hour = {.tv_sec = 3600};
    for (;;) {
        nanosleep(&hour, NULL);
    }
}

static pthread_mutex_t kept = PTHREAD_MUTEX_INITIALIZER;

int lock_and_keep(void)
{
    return pthread_mutex_lock(&kept);
}
