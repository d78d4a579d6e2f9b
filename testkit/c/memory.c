/* The heap: used, used up, and destroyed. */
#include "fixtures.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20, CHUNKS = 64 };

/* FNV-1a: the harmless function. */
uint64_t checksum(const unsigned char *bytes, size_t length)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    }
    return sum;
}

static long counter;

long static_counter(void)
{
    return ++counter;
}

void store_at(uintptr_t address, unsigned char value)
{
    *(volatile unsigned char *)address = value;
}

unsigned char load_at(uintptr_t address)
{
    return *(volatile unsigned char *)address;
}

/* The size of the next chunk becomes 0x4141414141414141, which free() checks before it merges. More than 1,032 bytes, since small
   chunks go to a per-thread list unchecked. Whatever the next chunk is, the last one of the heap included, it has a size there. */
void heap_overflow(void)
{
    char *volatile buffer = malloc(5000);
    if (buffer == NULL) {
        return;
    }
    size_t usable_bytes = malloc_usable_size(buffer);
    memset(buffer, 'A', usable_bytes + sizeof(size_t));
    free(buffer);
}

void double_free(void)
{
    void *volatile chunk = malloc(24);
    free(chunk);
    free(chunk);
}

/* Every header becomes all ones: as if the chunk were a mapping of its own, at an address that no mapping has, which free() refuses
   whichever arena the chunk is from. */
void destroy_own_heap(void)
{
    char *volatile chunks[CHUNKS];
    size_t bytes[CHUNKS];
    for (size_t i = 0; i < CHUNKS; i++) {
        bytes[i] = 16 + 40 * i;
        chunks[i] = malloc(bytes[i]);
        if (chunks[i] == NULL) {
            return;
        }
    }
    /* Its own header, and the one behind it. */
    const size_t header_bytes = 2 * sizeof(size_t);
    for (size_t i = 0; i < CHUNKS; i++) {
        memset(chunks[i] - header_bytes, 0xff, header_bytes + bytes[i] + header_bytes);
    }
    for (size_t i = 0; i < CHUNKS; i++) {
        free(chunks[i]);
    }
}

struct piece {
    struct piece *next;
    char rest[PIECE_BYTES - sizeof(struct piece *)];
};

/* Allocates in pieces and touches each page; all of it is held until the last piece is there. */
static size_t hog(size_t bytes, void (*on_failure)(void))
{
    struct piece *held = NULL;
    size_t held_bytes = 0;
    while (held_bytes < bytes) {
        struct piece *volatile piece = malloc(sizeof *piece);
        if (piece == NULL) {
            on_failure();
            break;
        }
        memset(piece, 0x5a, sizeof *piece);
        piece->next = held;
        held = piece;
        held_bytes += sizeof *piece;
    }
    while (held != NULL) {
        struct piece *next = held->next;
        free(held);
        held = next;
    }
    return held_bytes;
}

static void write_to_null(void)
{
    volatile int *volatile target = NULL;
    *target = 42;
}

size_t memory_hog_or_null_write(size_t bytes)
{
    return hog(bytes, write_to_null);
}

size_t memory_hog_or_abort(size_t bytes)
{
    return hog(bytes, abort);
}
