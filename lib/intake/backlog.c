/* backlog.c: what of the spool is not stored yet, and whether what was there at a moment is */
#include <stdlib.h>
#include <string.h>

#include "lib/intake/batch_parts.h"

#define USUAL_EVENT_BYTES 280

void batch_lag(const struct batch *b, struct batch_lag *out)
{
    uint64_t average = b->read_events ? b->read_bytes / b->read_events : USUAL_EVENT_BYTES;

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segments[i];
        uint64_t done = s->position ? s->position : SPOOL_HEADER_BYTES;

        out->spool_bytes += s->bytes;
        out->segments++;
        if (!s->foreign && s->bytes > done)
            out->bytes += s->bytes - done;
    }
    out->events = (out->bytes + average / 2) / average;
    for (size_t i = 0; i < b->n_events; i++)
        if (out->oldest_us == 0 || b->events[i].event.appended_us < out->oldest_us)
            out->oldest_us = b->events[i].event.appended_us;
}

static enum status each_of(struct batch *b, const struct segment *s, uint64_t from, batch_event_fn *fn, void *arg,
                           uint64_t *end)
{
    struct spool_reader *r;
    enum status st = spool_reader_open(b->options.spool_dir, s->number, from, b->options.node, &r);
    struct spool_damage damage;
    struct event e;
    bool final;

    *end = from;
    if (st != STATUS_OK)
        return st == STATUS_NOT_FOUND ? STATUS_OK : st;
    do {
        st = spool_read(r, &e, end, &damage, &final);
        if (st == STATUS_OK)
            fn(arg, &e, s->number);
    } while (st == STATUS_OK || st == STATUS_DAMAGED);
    spool_reader_close(r);
    return st == STATUS_END ? STATUS_OK : st;
}

enum status batch_each_unread(struct batch *b, batch_event_fn *fn, void *arg,
                              uint64_t (*read_from)(void *arg, uint64_t segment),
                              void (*read_to)(void *arg, uint64_t segment, uint64_t position))
{
    for (size_t i = 0; i < b->n_segments; i++) {
        const struct segment *s = &b->segments[i];
        uint64_t from = read_from(arg, s->number), end;

        if (from < s->position)
            from = s->position;
        if (s->foreign || !s->known || each_of(b, s, from, fn, arg, &end) != STATUS_OK)
            continue; /* what can't be read is reported by batch_read */
        read_to(arg, s->number, end);
    }
    return STATUS_OK;
}

struct batch_mark {
    size_t n;
    struct spool_segment *segments;
};

enum status batch_mark(const struct batch *b, struct batch_mark **out)
{
    struct batch_mark *m = calloc(1, sizeof(*m));
    enum status s = m ? spool_list(b->options.spool_dir, &m->segments, &m->n) : STATUS_NO_MEMORY;

    if (s != STATUS_OK) {
        free(m);
        return s;
    }
    *out = m;
    return STATUS_OK;
}

void batch_mark_free(struct batch_mark *m)
{
    if (!m)
        return;
    free(m->segments);
    free(m);
}

bool batch_is_stored(const struct batch *b, const struct spool_segment *g)
{
    const struct segment *s = segment_find(b, g->number);
    uint64_t done = s && s->known ? (s->position ? s->position : SPOOL_HEADER_BYTES) : 0;

    return s && (s->foreign || (!g->unreadable && g->bytes <= done));
}

/* A segment is removed only when all of it is stored. */
static bool is_removed(const struct batch_mark *now, uint64_t number)
{
    for (size_t i = 0; i < now->n; i++)
        if (now->segments[i].number == number)
            return false;
    return true;
}

bool batch_passed(const struct batch *b, const struct batch_mark *m)
{
    struct batch_mark *now;
    bool passed = true;

    if (batch_mark(b, &now) != STATUS_OK)
        return false;
    for (size_t i = 0; i < m->n && passed; i++)
        passed = is_removed(now, m->segments[i].number) || batch_is_stored(b, &m->segments[i]);
    batch_mark_free(now);
    return passed;
}

bool batch_drained(const struct batch *b)
{
    struct batch_mark *now;
    bool drained = !batch_pending(b) && batch_mark(b, &now) == STATUS_OK;

    if (!drained)
        return false;
    for (size_t i = 0; i < now->n && drained; i++)
        drained = batch_is_stored(b, &now->segments[i]);
    batch_mark_free(now);
    return drained;
}
