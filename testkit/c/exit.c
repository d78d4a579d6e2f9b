/* Ways to end the process without being killed from outside. */
#include "fixtures.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void call_abort(void)
{
    abort();
}

void exit_with(int code)
{
    exit(code);
}

void underscore_exit(int code)
{
    _exit(code);
}

void quick_exit_with(int code)
{
    quick_exit(code);
}

static int marked_descriptor;

static void mark(void)
{
    static const char text[] = "exit handler ran\n";
    if (write(marked_descriptor, text, strlen(text)) < 0) {
        _exit(99);
    }
}

int leave_exit_handler(int descriptor)
{
    marked_descriptor = descriptor;
    return atexit(mark);
}
