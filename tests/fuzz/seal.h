/*
 * seal: makes records of what a fuzzer wrote.
 *
 * No fuzzer guesses a checksum. Whatever has a record's magic and a length that fits gets the one that event.h describes;
 * told by the header alone, so that the header and event.c are compared, too.
 */
#ifndef FUZZ_SEAL_H
#define FUZZ_SEAL_H

#include <string.h>

#include <xxhash.h>

#include "lib/meter/event.h"

/* The length that the bytes at `at` claim, 0 when they are no record's beginning. */
static inline size_t seal_length(const unsigned char *at, size_t size)
{
    if (size < EVENT_FIXED_BYTES || memcmp(at, "TGR1", 4) != 0)
        return 0;
    size_t n = at[4] | (size_t)at[5] << 8 | (size_t)at[6] << 16 | (size_t)at[7] << 24;
    return n >= EVENT_FIXED_BYTES && n <= size && n <= EVENT_MAX_BYTES && n % 8 == 0 ? n : 0;
}

static inline void seal(unsigned char *at, size_t length, uint64_t seed)
{
    uint64_t sum = XXH3_64bits_withSeed(at + 16, length - 16, seed ^ (uint64_t)length << 40);
    for (int i = 0; i < 8; i++)
        at[8 + i] = (unsigned char)(sum >> 8 * i);
}

#endif
