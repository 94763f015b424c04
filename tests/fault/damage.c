/*
 * damage.c: segments damaged at random, read again: damage [RUNS] [SEED], under ASan and UBSan.
 *
 * Each run writes a segment of records, damages its bytes in one way (cut off, flipped bits, swapped blocks, a stale tail of
 * another segment, zeros, a header of noise) and reads it. Right when every record whose bytes are untouched is read at its
 * place, nothing else is read, and every byte of the others that is still there lies in a reported range. A seed replays.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/io.h"
#include "lib/meter/spool/segment.h"
#include "tests/fault/damage.h"

#define RECORDS_MOST 64
#define FILE_MOST ((size_t)8 << 20)

static char dir[64];
static struct spool_node node;

struct segment {
    uint64_t number;
    unsigned char *bytes, *before; /* as it is damaged, as it was */
    size_t length, length_before;
    size_t n, at[RECORDS_MOST + 1]; /* where each record begins; the last entry is the end */
};
static struct segment other; /* whose end is a stale tail in others */

/* Printable bytes, eight from each number. */
static void fill_noise(char *noise, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (i % 8 == 0)
            number_below(1);
        noise[i] = (char)(' ' + (damage_state >> i % 8 * 8 & 63));
    }
}

/* The bytes that a writer would have written; a file is made of them when they are damaged. */
static enum status make(struct segment *g)
{
    static char noise[EVENT_METADATA_MAX];
    struct spool_segment header = {.number = 1 + number_below(UINT64_C(1) << 60), .kind = SPOOL_GATE, .pid = 7};
    enum status s = STATUS_OK;
    memcpy(header.node, node.uuid, sizeof header.node);
    g->number = header.number;
    g->n = 1 + number_below(RECORDS_MOST);
    g->at[0] = SPOOL_HEADER_BYTES;
    spool_segment_encode(g->before, &header);
    for (size_t i = 0; i < g->n && s == STATUS_OK; i++) {
        size_t length = number_below(16) ? number_below(400) : number_below(EVENT_METADATA_MAX), size;
        struct event e = {.tenant = {"t1", 2},
                          .metric = {"api_call", 8},
                          .metadata = {noise, length},
                          .sequence = i,
                          .value = (int64_t)i};
        fill_noise(noise, length);
        s = event_encode(&e, spool_seed(node.uuid, g->number) + g->at[i], g->before + g->at[i], FILE_MOST - g->at[i],
                         &size);
        g->at[i + 1] = g->at[i] + size;
    }
    g->length = g->length_before = g->at[g->n];
    memcpy(g->bytes, g->before, g->length);
    return s;
}

static void damage(struct segment *g)
{
    size_t a = number_below(g->length), b = number_below(g->length);
    switch (number_below(6)) {
    case 0:
        g->length = a;
        break;
    case 1:
        flip_bits(g->bytes, g->length);
        break;
    case 2:
        swap_blocks(g->bytes, g->length);
        break;
    case 3:
        stale_tail(g->bytes, g->length, other.bytes, other.length);
        break;
    case 4:
        memset(g->bytes + (a < b ? a : b), 0, a < b ? b - a : a - b);
        break;
    default:
        for (size_t i = 0; i < SPOOL_HEADER_BYTES; i++)
            g->bytes[i] = (unsigned char)number_below(256);
    }
}

static bool untouched(const struct segment *g, size_t record)
{
    size_t from = g->at[record], to = g->at[record + 1];
    return to <= g->length && memcmp(g->bytes + from, g->before + from, to - from) == 0;
}

/* Index of the record that begins at `at`, or -1. */
static int record_at(const struct segment *g, uint64_t at)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i] == at)
            return (int)i;
    return -1;
}

/* Reads to the end; `covered` counts for each record the bytes that were reported. */
static const char *read_back(const struct segment *g, bool found[RECORDS_MOST], size_t covered[RECORDS_MOST])
{
    struct spool_damage d;
    struct spool_reader *r;
    struct event e;
    uint64_t at = SPOOL_HEADER_BYTES, next = at;
    bool final = false;
    enum status s = spool_reader_open(dir, g->number, 0, node.uuid, &r);
    if (s == STATUS_VERSION && g->length >= SPOOL_HEADER_BYTES)
        return "an intact header was not recognised";
    if (s != STATUS_OK)
        return "the segment can't be opened";
    const char *wrong = NULL;
    while (!wrong && ((s = spool_read(r, &e, &next, &d, &final)) == STATUS_OK || s == STATUS_DAMAGED)) {
        int i = record_at(g, at);
        if (s == STATUS_OK && (i < 0 || !untouched(g, (size_t)i) || e.value != i))
            wrong = "something was read that was never written there";
        else if (s == STATUS_OK)
            found[i] = true;
        else if (d.from != at || d.to <= d.from || d.to > g->length)
            wrong = "the reported range is out of place";
        for (size_t k = 0; !wrong && s == STATUS_DAMAGED && k < g->n; k++) {
            uint64_t from = d.from > g->at[k] ? d.from : g->at[k], to = d.to < g->at[k + 1] ? d.to : g->at[k + 1];
            covered[k] += to > from ? to - from : 0;
        }
        at = next;
    }
    spool_reader_close(r);
    if (!wrong && (s != STATUS_END || !final))
        wrong = "reading did not come to the end";
    return wrong;
}

static const char *judge(const struct segment *g, size_t *intact, size_t *damaged)
{
    bool found[RECORDS_MOST] = {false};
    size_t covered[RECORDS_MOST] = {0};
    const char *wrong = read_back(g, found, covered);
    for (size_t i = 0; i < g->n && !wrong; i++) {
        size_t there = g->length <= g->at[i] ? 0 : (g->length < g->at[i + 1] ? g->length : g->at[i + 1]) - g->at[i];
        *intact += untouched(g, i);
        *damaged += !untouched(g, i);
        if (untouched(g, i) != found[i])
            wrong = "an intact record was not read";
        else if (!untouched(g, i) && covered[i] != there)
            wrong = "damaged bytes were not reported";
    }
    return wrong;
}

static const char *damage_run(struct damage_sums *sums)
{
    static struct segment g;
    size_t damaged = sums->damaged;
    char path[128];
    const char *wrong = "a segment could not be written";
    if (!g.bytes && (!(g.bytes = malloc(FILE_MOST)) || !(g.before = malloc(FILE_MOST))))
        return "out of memory";
    if (make(&g) != STATUS_OK)
        return wrong;
    damage(&g);
    snprintf(path, sizeof path, "%s/%016" PRIx64 ".seg", dir, g.number);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && io_write_all(fd, g.bytes, g.length) == STATUS_OK)
        wrong = judge(&g, &sums->intact, &sums->damaged);
    if (fd >= 0)
        close(fd);
    if (spool_remove(dir, g.number) != STATUS_OK)
        wrong = "the segment could not be removed";
    sums->reported += sums->damaged > damaged;
    return wrong;
}

static int damage_begin(void)
{
    damage_state = 1;
    other.bytes = malloc(FILE_MOST);
    other.before = malloc(FILE_MOST);
    return other.bytes && other.before && damage_dir(dir) && spool_node_load(dir, true, &node) == STATUS_OK &&
                   make(&other) == STATUS_OK
               ? 0
               : 1;
}

static void damage_end(void)
{
    char path[128];
    free(other.bytes);
    free(other.before);
    snprintf(path, sizeof path, "%s/node", dir);
    unlink(path);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 500;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)getpid();
    struct damage_sums sums = damage_all(runs, seed);
    printf("damage: %ld segments from seed %" PRIu64
           ": sent %zu, intact %zu, damaged %zu, lost or doubled in %ld runs\n",
           runs, seed, sums.intact + sums.damaged, sums.intact, sums.damaged, sums.failed);
    printf("%d passed, %d failed\n", sums.failed == 0, sums.failed != 0);
    return sums.failed != 0;
}
