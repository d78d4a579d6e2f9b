/* Signals sent to oneself, and jumps out of functions. */
#include "fixtures.h"

#include <setjmp.h>
#include <signal.h>

int raise_signal(int signal)
{
    return raise(signal);
}

static volatile sig_atomic_t handled;

static void note(int signal)
{
    handled = signal;
}

int install_handler_and_raise(int signal)
{
    struct sigaction action = {.sa_handler = note};
    sigemptyset(&action.sa_mask);
    handled = 0;
    if (sigaction(signal, &action, NULL) != 0) {
        return -errno;
    }
    if (raise(signal) != 0) {
        return -errno;
    }
    return handled;
}

static jmp_buf return_point;

__attribute__((noinline)) static void jump_out(int value)
{
    longjmp(return_point, value);
}

int longjmp_within(int value)
{
    int returned = setjmp(return_point);
    if (returned == 0) {
        jump_out(value);
    }
    return returned;
}
