/* What every fixture file needs. */
#ifndef RINGFENCE_FIXTURES_H
#define RINGFENCE_FIXTURES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

/* The way of the kernel: what a call gave, or the negated error number. */
#define RESULT_OR_ERRNO(call)                      \
    __extension__({                                \
        long result_ = (long)(call);               \
        result_ == -1 ? -(long)errno : result_;    \
    })

#endif
