/* Threads that stay when the call that started them is over. */
#include "fixtures.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_long turns;

static void *turn(void *unused)
{
    (void)unused;
    const struct timespec millisecond = {.tv_nsec = 1000000};
    for (;;) {
        atomic_fetch_add(&turns, 1);
        nanosleep(&millisecond, NULL);
    }
    return NULL;
}

int spawn_thread_outliving_call(void)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, turn, NULL);
    if (error != 0) {
        return error;
    }
    return pthread_detach(thread);
}

long outliving_thread_turns(void)
{
    return atomic_load(&turns);
}
