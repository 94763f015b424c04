/*
 * damage: what the damage tests share: numbers from a seed, bytes damaged by them, many runs in two processes.
 *
 * Included once, by a program that defines damage_run, damage_begin and damage_end.
 */
#ifndef FAULT_DAMAGE_H
#define FAULT_DAMAGE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAMAGE_PROCESSES 2
#define DAMAGE_RUN_MOST_S 60 /* a run that takes longer hangs: SIGALRM ends its process */

struct damage_sums {
    size_t intact, damaged; /* what they count is the program's */
    size_t reported;        /* runs in which the damage was noticed */
    long failed, ended;
};

/* One run; NULL, or what went wrong. A static text. */
static const char *damage_run(struct damage_sums *sums);
/* Once a process, before and after its runs; 0 is success. */
static int damage_begin(void);
static void damage_end(void);

static uint64_t damage_state;

/* A folder of the process's own, in memory where there is such a place: thousands of files are written. */
static const char *damage_dir(char dir[64])
{
    snprintf(dir, 64, "%s/tollgate-damage-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(dir);
}

static uint64_t number_below(uint64_t n)
{
    damage_state ^= damage_state << 13;
    damage_state ^= damage_state >> 7;
    damage_state ^= damage_state << 17;
    return damage_state % n;
}

static void flip_bits(unsigned char *bytes, size_t length)
{
    for (uint64_t i = 0, n = 1 + number_below(8); i < n; i++)
        bytes[number_below(length)] ^= (unsigned char)(1u << number_below(8));
}

static void swap_blocks(unsigned char *bytes, size_t length)
{
    static unsigned char kept[4096];
    size_t size = (size_t)8 << number_below(10), blocks = length / size;
    if (blocks < 2)
        return;
    size_t a = number_below(blocks) * size, b = number_below(blocks) * size;
    memcpy(kept, bytes + a, size);
    memmove(bytes + a, bytes + b, size);
    memcpy(bytes + b, kept, size);
}

/* The end is of another file, as after a power cut on a disk that had it there. */
static void stale_tail(unsigned char *bytes, size_t length, const unsigned char *other, size_t other_length)
{
    size_t from = number_below(length), n = length - from;
    if (n > other_length)
        n = other_length;
    memcpy(bytes + from, other + other_length - n, n);
}

static void damage_process(int which, long runs, uint64_t seed, struct damage_sums *sums)
{
    int begun = damage_begin();
    for (long i = which; i < runs && begun == 0; i += DAMAGE_PROCESSES) {
        damage_state = (seed + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        alarm(DAMAGE_RUN_MOST_S);
        const char *wrong = damage_run(sums);
        if (wrong)
            printf("seed %" PRIu64 ": %s\n", seed + (uint64_t)i, wrong);
        sums->failed += wrong != NULL;
        sums->ended++;
    }
    alarm(0);
    damage_end();
    fflush(stdout);
}

/* All runs: each seed is a run by itself. Returns the sums; `failed` counts those that a crash cut off, too. */
static struct damage_sums damage_all(long runs, uint64_t seed)
{
    struct damage_sums all = {0};
    struct damage_sums *sums = mmap(NULL, DAMAGE_PROCESSES * sizeof *sums, PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[DAMAGE_PROCESSES];
    if (sums == MAP_FAILED)
        exit(1);
    for (int i = 0; i < DAMAGE_PROCESSES; i++)
        if ((pids[i] = fork()) == 0) {
            damage_process(i, runs, seed, &sums[i]);
            exit(0);
        }
    for (int i = 0; i < DAMAGE_PROCESSES; i++) {
        int status = 0;
        if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            printf("process %d ended with status %d after %ld runs; the next one is seed %" PRIu64 "\n", i, status,
                   sums[i].ended, seed + (uint64_t)(i + sums[i].ended * DAMAGE_PROCESSES));
        all.intact += sums[i].intact;
        all.damaged += sums[i].damaged;
        all.reported += sums[i].reported;
        all.failed += sums[i].failed;
        all.ended += sums[i].ended;
    }
    all.failed += runs - all.ended;
    return all;
}

#endif
