/* reader.c: a segment's records one after another, past damage, up to a torn tail */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/meter/spool/segment.h"

#define WINDOW (256u << 10) /* holds any record and leaves room to look ahead */

struct spool_reader {
    int fd;
    uint64_t seed;
    uint64_t offset;    /* of the next record */
    uint64_t whole_to;  /* up to here the records that were appended together are all there */
    uint64_t window_at; /* what window[0] is in the file */
    size_t window_length;
    unsigned char window[WINDOW];
};

enum status spool_reader_open(const char *dir, uint64_t number, uint64_t offset, const unsigned char node[16],
                              struct spool_reader **out)
{
    unsigned char header[SPOOL_HEADER_BYTES];
    struct spool_segment found;
    struct spool_reader *r = NULL;
    int fd;
    enum status s = spool_segment_open(dir, number, &fd);
    if (s != STATUS_OK)
        return s;
    ssize_t n = pread(fd, header, sizeof(header), 0);
    s = n == (ssize_t)sizeof(header) ? spool_segment_decode(header, &found) : n < 0 ? STATUS_IO : STATUS_DAMAGED;
    if (s == STATUS_OK && found.number != number)
        s = STATUS_DAMAGED;
    if (s == STATUS_DAMAGED && node) {
        memcpy(found.node, node, sizeof(found.node));
        s = STATUS_OK;
    }
    if (s == STATUS_OK && !(r = malloc(sizeof(*r))))
        s = STATUS_NO_MEMORY;
    if (s != STATUS_OK) {
        close(fd);
        return s;
    }
    r->fd = fd;
    r->seed = spool_seed(found.node, number);
    r->offset = offset ? offset : SPOOL_HEADER_BYTES;
    r->whole_to = 0;
    r->window_at = 0;
    r->window_length = 0;
    *out = r;
    return STATUS_OK;
}

void spool_reader_close(struct spool_reader *r)
{
    if (!r)
        return;
    close(r->fd);
    free(r);
}

/* Makes window[0] the byte at `at`, as much as there is. */
static enum status fill(struct spool_reader *r, uint64_t at)
{
    ssize_t n;
    do
        n = pread(r->fd, r->window, sizeof(r->window), (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return STATUS_IO;
    r->window_at = at;
    r->window_length = (size_t)n;
    return STATUS_OK;
}

/* Decodes what is at `at`, reading on when the window ends before the record does. */
static enum status decode_at(struct spool_reader *r, uint64_t at, struct event *e, size_t *length)
{
    for (int tries = 0;; tries++) {
        bool inside = at >= r->window_at && at < r->window_at + r->window_length;
        size_t skip = inside ? (size_t)(at - r->window_at) : r->window_length;
        enum status s = event_decode(r->window + skip, r->window_length - skip, r->seed + at, e, length);
        if (s != STATUS_END || tries)
            return s;
        s = fill(r, at);
        if (s != STATUS_OK)
            return s;
    }
}

/* The next offset behind `from` where a record is, or where the file ends (STATUS_END, *at is the end). */
static enum status find_record(struct spool_reader *r, uint64_t from, uint64_t *at)
{
    struct event e;
    size_t length;
    uint64_t next = from + 8;
    for (;;) {
        enum status s = decode_at(r, next, &e, &length);
        if (s == STATUS_OK || s == STATUS_VERSION) {
            *at = next;
            return STATUS_OK;
        }
        if (s == STATUS_IO)
            return s;
        if (next >= r->window_at + r->window_length) {
            s = fill(r, next);
            if (s != STATUS_OK)
                return s;
            if (r->window_length == 0) {
                off_t end = lseek(r->fd, 0, SEEK_END);
                *at = end > (off_t)from ? (uint64_t)end : from;
                return end < 0 ? STATUS_IO : STATUS_END;
            }
        }
        next += 8;
    }
}

/* A power cut leaves zeros where blocks were reserved but never written. */
static enum status only_zeros(struct spool_reader *r, uint64_t from, uint64_t to, bool *zeros)
{
    *zeros = false;
    while (from < to) {
        enum status s = fill(r, from);
        if (s != STATUS_OK)
            return s;
        for (size_t i = 0; i < r->window_length; i++)
            if (r->window[i])
                return STATUS_OK;
        if (r->window_length == 0)
            return STATUS_OK;
        from += r->window_length;
    }
    *zeros = true;
    return STATUS_OK;
}

/*
 * The record at r->offset. STATUS_END with *cut: it is whole, but the file ends within those that were appended with it. One
 * that is damaged, not cut off, takes none of the others with it.
 */
static enum status next_record(struct spool_reader *r, struct event *e, size_t *length, bool *cut)
{
    *cut = false;
    enum status s = decode_at(r, r->offset, e, length);
    if (s != STATUS_OK || !e->following || r->offset < r->whole_to)
        return s;
    uint64_t to = r->offset + *length + e->following;
    off_t end = lseek(r->fd, 0, SEEK_END);
    if (end < 0)
        return STATUS_IO;
    *cut = (uint64_t)end < to;
    if (*cut)
        return STATUS_END;
    r->whole_to = to;
    return STATUS_OK;
}

/* The last append is not whole: a live writer may be in the middle of it; a dead one's was cut short, nothing of it counts. */
static enum status past_cut(struct spool_reader *r, bool live, uint64_t *next, struct spool_damage *damage)
{
    *next = r->offset;
    if (live)
        return STATUS_END;
    off_t end = lseek(r->fd, 0, SEEK_END);
    if (end <= (off_t)r->offset)
        return STATUS_IO;
    *damage = (struct spool_damage){.from = r->offset, .to = (uint64_t)end, .torn_tail = true};
    r->offset = *next = (uint64_t)end;
    return STATUS_DAMAGED;
}

/* No record at r->offset (`why`): damage before a later record, an unfinished end, or nothing more for now. */
static enum status past_damage(struct spool_reader *r, enum status why, bool live, struct event *e, uint64_t *next,
                               struct spool_damage *damage, bool *final)
{
    uint64_t to = r->offset;
    size_t length;
    bool zeros = false, cut;
    enum status s = find_record(r, r->offset, &to);
    if (s == STATUS_IO)
        return s;
    if (s == STATUS_END) {
        bool empty = to <= r->offset;
        if (live || empty) {
            *final = !live;
            *next = r->offset;
            return STATUS_END;
        }
        if (why != STATUS_END && only_zeros(r, r->offset, to, &zeros) != STATUS_OK)
            return STATUS_IO;
    } else {
        /* Its writer may have been in the middle of it at the first look; since there is a later one, it is whole. */
        if (fill(r, r->offset) != STATUS_OK)
            return STATUS_IO;
        enum status again = next_record(r, e, &length, &cut);
        if (again == STATUS_OK) {
            r->offset = *next = r->offset + length;
            return STATUS_OK;
        }
        if (cut || (live && again == STATUS_END)) /* or its writer is taking it back */
            return past_cut(r, live, next, damage);
        if (again == STATUS_IO)
            return again;
    }
    *damage = (struct spool_damage){.from = r->offset, .to = to};
    damage->torn_tail = s == STATUS_END && (why == STATUS_END || zeros);
    r->offset = *next = to;
    return STATUS_DAMAGED;
}

enum status spool_read(struct spool_reader *r, struct event *e, uint64_t *next, struct spool_damage *damage,
                       bool *final)
{
    size_t length;
    bool cut;
    *final = false;
    enum status s = next_record(r, e, &length, &cut);
    if (s == STATUS_OK) {
        r->offset += length;
        *next = r->offset;
        return STATUS_OK;
    }
    if (s == STATUS_IO)
        return s;
    bool live = spool_segment_live(r->fd); /* first this, then to the end again: a dead writer adds nothing more */
    s = fill(r, r->offset);
    if (s != STATUS_OK)
        return s;
    s = next_record(r, e, &length, &cut);
    if (s == STATUS_OK) {
        r->offset += length;
        *next = r->offset;
        return STATUS_OK;
    }
    if (cut)
        return past_cut(r, live, next, damage);
    if (s == STATUS_IO)
        return s;
    return past_damage(r, s, live, e, next, damage, final);
}
