/*
 * spool: the append-only journal of events on one node.
 *
 * A writer (each gate process, each web process) has a segment of its own and appends to it without
 * locks: one write(2) a call. The collector reads every segment of the node and removes one when its
 * last record is committed and its writer is gone or has gone on to the next. The command line reads.
 *
 * `<spool>/node` names the node (spool_node); `<spool>/<number>.seg`, 16 hexadecimal digits, are the segments;
 * `<spool>/reserve` is space that the collector gives back to itself when the disk is full; `<spool>/kept` holds
 * segments that are stored, for as long as the database may go back to before that. A segment's number is never used
 * again: microseconds of its making, with 12 random bits below. The writer holds an exclusive flock(2) on its segment,
 * so a dead writer shows by the lock.
 *
 * Segment header, little-endian, SPOOL_HEADER_BYTES:
 *
 *   offset size
 *        0    8  magic "TGSPOOL1"
 *        8    4  version, SPOOL_VERSION
 *       12    4  bytes of this header, 64
 *       16   16  node, a random UUID
 *       32    8  number of the segment
 *       40    8  made at, microseconds UTC
 *       48    4  process id of the writer
 *       52    4  enum spool_writer_kind
 *       56    8  xxh3-64 of bytes 0..56
 *
 * Records (event.h) follow, each checksum seeded with spool_seed(node, number) + the record's offset, so that bytes of
 * another segment, or of another place in this one, are never taken for a record. Blocks are reserved ahead beyond the end of the file
 * (FALLOC_FL_KEEP_SIZE), so the size is the end of data. A record that a kill tore at the end was
 * acknowledged by nobody: spool_reader says how many bytes it had.
 */
#ifndef METER_SPOOL_H
#define METER_SPOOL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/event.h"

#define SPOOL_VERSION 1
#define SPOOL_HEADER_BYTES 64
#define SPOOL_NODE_TEXT 37 /* a UUID as text, with its NUL */

enum spool_writer_kind { SPOOL_GATE = 1, SPOOL_WEB = 2, SPOOL_COLLECTOR = 3 };
enum spool_sync {
    SPOOL_SYNC_ALWAYS,   /* each append is on disk before the answer */
    SPOOL_SYNC_INTERVAL, /* in the page cache before the answer; the collector syncs: a power cut loses that interval */
    SPOOL_SYNC_NEVER,    /* in the page cache; the kernel decides */
};

struct spool_node {
    unsigned char uuid[16];
    /* Changes at each start of the collector; the database holds the newest, so that a copied image is noticed. */
    unsigned char token[16];
};

/*
 * Reads `<dir>/node`, or makes it (0600) with a random UUID when `make` and it is missing; makes `dir` (0700) too.
 * STATUS_NOT_FOUND, STATUS_DAMAGED, STATUS_IO, STATUS_NO_SPACE.
 */
MUST_CHECK enum status spool_node_load(const char *dir, bool make, struct spool_node *node);
/* Writes `<dir>/node` anew, atomically and synced. */
MUST_CHECK enum status spool_node_store(const char *dir, const struct spool_node *node);
/*
 * `<dir>/starts`: the tokens of this node's starts, the last 4096, so that a database that went back is told from a node that
 * was copied. spool_starts_add before the token can be in the database; *out is malloc'ed, n tokens of 16 bytes.
 */
MUST_CHECK enum status spool_starts_add(const char *dir, const unsigned char token[16]);
MUST_CHECK enum status spool_starts(const char *dir, unsigned char **out, size_t *n);
void spool_node_text(const struct spool_node *node, char out[SPOOL_NODE_TEXT]);
uint64_t spool_seed(const unsigned char uuid[16], uint64_t number);

/* ---- writing: gate, web ---- */

struct spool_writer;

struct spool_options {
    const char *dir; /* must outlive the writer */
    enum spool_writer_kind kind;
    enum spool_sync sync;
    size_t segment_bytes;   /* a segment is closed when it has grown to this; 64 KiB..1 GiB */
    int64_t segment_age_us; /* or is this old, at the next append */
    /*
     * The spool's whole size at which appends fail with STATUS_NO_SPACE; 0: no bound. Each writer counts its own bytes and
     * looks at the others' once a second, so together they may exceed it by what they append in that time.
     */
    uint64_t max_bytes;
};

/*
 * Opens a writer; its first segment is made at the first append, so opening works on a full disk.
 * One process alone may use it: open after fork(2), in the child. All memory an append needs is allocated here. STATUS_NO_MEMORY, STATUS_NOT_FOUND (no node file), STATUS_IO.
 */
MUST_CHECK enum status spool_writer_open(const struct spool_options *o, struct spool_writer **out);
/*
 * Appends `n` events as one write(2): all or none, also when the write is cut short, for readers leave out what lacks
 * its end (event.h, "following"). Fills their sequence, following and appended_us (and recorded_us where it is 0). With
 * `durable`, or sync=always, returns after fdatasync(2). STATUS_NO_SPACE: nothing is stored, and what a short write
 * left is cut off; STATUS_IO likewise, the segment is then given up; STATUS_INVALID by an event's parts. `n` events
 * together take at most SPOOL_APPEND_MAX bytes, else STATUS_LIMIT.
 */
#define SPOOL_APPEND_MAX (8u << 20)
MUST_CHECK enum status spool_append(struct spool_writer *w, struct event *events, size_t n, bool durable);
/* The segment being written and its size so far; 0 before the first append. For tests and metrics. */
uint64_t spool_writer_segment(const struct spool_writer *w, uint64_t *bytes);
/* Closes; an empty segment is removed. NULL is allowed. */
void spool_writer_close(struct spool_writer *w);

/* ---- reading: collector, command line ---- */

struct spool_segment {
    uint64_t number;
    uint64_t bytes; /* size of the file now */
    int64_t made_us;
    uint32_t pid;
    uint32_t kind; /* enum spool_writer_kind */
    unsigned char node[16];
    bool live;          /* its writer holds the lock */
    bool header_intact; /* else only number and bytes are known */
    bool unreadable;    /* nothing but the number is known for now: it can't be opened or read */
};

/* Lists the segments of `dir` by number; *out is malloc'ed, the caller frees it. */
MUST_CHECK enum status spool_list(const char *dir, struct spool_segment **out, size_t *n);

struct spool_reader;

/* What spool_read found, in place of an event or beside it. */
struct spool_damage {
    uint64_t from, to; /* byte offsets in the segment */
    bool torn_tail;    /* unfinished at the end, of a dead writer: no answer acknowledged it */
};

/*
 * Opens segment `number` of `dir` at `offset` (0: behind the header; else an offset that spool_read gave).
 * STATUS_NOT_FOUND, STATUS_IO, STATUS_DAMAGED or STATUS_VERSION by the header. With a damaged header records are
 * still found when `node` is given (their checksums prove them), NULL otherwise.
 */
MUST_CHECK enum status spool_reader_open(const char *dir, uint64_t number, uint64_t offset,
                                         const unsigned char node[16], struct spool_reader **out);
/*
 * The next event; its texts point into the reader's window and live until the next call. *next is the offset behind it.
 * STATUS_END: nothing more now; `final` then tells whether there will ever be more (the writer is gone and all is read).
 * STATUS_DAMAGED: `damage` says which bytes are no record; reading goes on at damage->to with the next call, *next is damage->to.
 * While the writer lives, unfinished bytes at the end are STATUS_END, never damage.
 */
MUST_CHECK enum status spool_read(struct spool_reader *r, struct event *e, uint64_t *next, struct spool_damage *damage,
                                  bool *final);
void spool_reader_close(struct spool_reader *r);

/* Removes a segment's file. STATUS_CONFLICT when its writer still holds it. */
MUST_CHECK enum status spool_remove(const char *dir, uint64_t number);

/* ---- kept.c: what is stored, and what is gone ---- */

struct spool_kept {
    uint64_t number, bytes, disk_bytes;
    int64_t at_us; /* when it was stored to its end; of those that are gone: when it was removed */
};
MUST_CHECK enum status spool_kept_folder(char out[PATH_MAX], const char *dir);
/* Puts a segment that is stored to its end into `<dir>/kept`. STATUS_CONFLICT when its writer still holds it. */
MUST_CHECK enum status spool_keep(const char *dir, uint64_t number);
/* Takes it out of there again: it is to be read once more. */
MUST_CHECK enum status spool_kept_back(const char *dir, uint64_t number);
/* What is kept, oldest first; *out is malloc'ed, the caller frees it. */
MUST_CHECK enum status spool_kept_list(const char *dir, struct spool_kept **out, size_t *n);
struct spool_keeping {
    int64_t minutes, bytes;           /* at most so long, and so many bytes on the disk */
    uint64_t spool_bytes, spool_most; /* what the other segments have, and the bound of all together; 0: none */
};
/* Removes what is too old, and the oldest of what is too much: a quarter of what would be free without them is the most. */
MUST_CHECK enum status spool_kept_trim(const char *dir, const struct spool_keeping *k);
/* Removes the oldest, for space; false: there is none. Writers call it, too, before they give up an append. */
bool spool_kept_give(const char *dir);
/* Remembers in `<dir>/gone` that a segment was removed, so that after a rollback it is known what can't come back. */
MUST_CHECK enum status spool_gone_add(const char *dir, uint64_t number, uint64_t bytes);
MUST_CHECK enum status spool_gone_list(const char *dir, struct spool_kept **out, size_t *n);
void spool_gone_clear(const char *dir);
/*
 * No segment is made with a number below the floor from now on, whatever the clocks say. The collector raises it before it
 * lists what there is and says in the database that all below is stored; a writer that did not see it gives its number up.
 */
MUST_CHECK enum status spool_floor_raise(const char *dir, uint64_t below);
MUST_CHECK enum status spool_floor(const char *dir, uint64_t *below); /* 0: there is none yet */

/*
 * fdatasync(2) of each segment that may hold what only the page cache has: live ones, and once each one whose writer has
 * gone on or died, which then gets the mode 0400. The collector calls it at the interval.
 */
MUST_CHECK enum status spool_sync(const char *dir);

#endif
