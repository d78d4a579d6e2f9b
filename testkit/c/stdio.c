/* Streams, descriptors, files and the environment. */
#include "fixtures.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 65536 };

/* Not flushed: unless the stream is a terminal the text stays in its buffer. */
int print_to_stdout(const char *text)
{
    return fputs(text, stdout);
}

int print_to_stderr(const char *text)
{
    return fputs(text, stderr);
}

long write_to_descriptor(int descriptor, const char *text)
{
    return RESULT_OR_ERRNO(write(descriptor, text, strlen(text)));
}

long open_file(const char *path)
{
    return RESULT_OR_ERRNO(open(path, O_RDONLY | O_CLOEXEC));
}

/* One close() each: it needs no system call that a policy for plain computing would not have. */
int close_every_descriptor(void)
{
    long limit = sysconf(_SC_OPEN_MAX);
    if (limit < 0 || limit > DESCRIPTORS_MAX) {
        limit = DESCRIPTORS_MAX;
    }
    int closed = 0;
    for (int descriptor = 0; descriptor < limit; descriptor++) {
        closed += close(descriptor) == 0;
    }
    return closed;
}

long read_env(const char *name, char *out, size_t out_bytes)
{
    const char *value = getenv(name);
    if (value == NULL) {
        return -1;
    }
    size_t length = strlen(value);
    size_t copied = length < out_bytes ? length : out_bytes;
    memcpy(out, value, copied);
    return (long)length;
}
