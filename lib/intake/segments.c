/* segments.c: the segments that a batch reads from, and the positions up to which they are stored */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/intake/batch_parts.h"

void segment_close(struct segment *s)
{
    spool_reader_close(s->reader);
    s->reader = NULL;
}

struct segment *segment_find(const struct batch *b, uint64_t number)
{
    for (size_t i = 0; i < b->n_segments; i++)
        if (b->segments[i].number == number)
            return &b->segments[i];
    return NULL;
}

static bool is_own(const struct batch *b, const struct spool_segment *g)
{
    return g->header_intact ? memcmp(g->node, b->options.node, sizeof(g->node)) == 0 : b->options.unmarked;
}

static enum status add_segment(struct batch *b, const struct spool_segment *from)
{
    struct segment *grown = realloc(b->segments, (b->n_segments + 1) * sizeof(*grown));
    struct ingest_span *spans;

    if (!grown)
        return STATUS_NO_MEMORY;
    b->segments = grown;
    if (!(spans = realloc(b->spans, (b->n_segments + 1) * sizeof(*spans))))
        return STATUS_NO_MEMORY;
    b->spans = spans;
    b->contents.spans = spans; /* a batch may be waiting for PostgreSQL */
    struct segment *s = &b->segments[b->n_segments++];

    *s = (struct segment){.number = from->number, .foreign = !is_own(b, from)};
    if (s->foreign && b->options.remove_ended)
        log_warning("segment %016" PRIx64
                    " is another node's and is left alone: bring it in with `tollgate spool ingest`",
                    from->number);
    return STATUS_OK;
}

/* Forgets segments whose file is gone, and with `remove_ended` puts those away that are stored to their end. */
static void drop_ended(struct batch *b)
{
    for (size_t i = 0; i < b->n_segments;) {
        struct segment *s = &b->segments[i];
        bool ended = b->options.remove_ended && s->final && s->known && s->position == s->next;

        if (ended && s->listed) {
            segment_close(s);
            ended = recall_put_away(b, s);
        }
        if (!ended && s->listed) {
            i++;
            continue;
        }
        segment_close(s);
        b->segments[i] = b->segments[--b->n_segments];
    }
}

/* It is stored to its end: reading it would store it twice. */
static void refuse(const struct batch *b, struct segment *s)
{
    s->foreign = true;
    if (b->options.remove_ended)
        log_warning("segment %016" PRIx64
                    " was stored before and put away, and is there again: it is left alone and may be removed",
                    s->number);
}

static enum status learn_positions(struct batch *b, struct ingest *in)
{
    struct ingest_position *list = calloc(b->n_segments + 1, sizeof(*list));
    enum status s;
    size_t n = 0;

    if (!list)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < b->n_segments; i++)
        if (!b->segments[i].known)
            list[n++].segment = b->segments[i].number;
    s = n ? ingest_progress(in, list, n) : STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        struct segment *g = segment_find(b, list[i].segment);

        g->known = true;
        if (list[i].position == INGEST_SETTLED) {
            refuse(b, g);
            continue;
        }
        g->position = g->next = list[i].position;
        recall_learned(b, g);
    }
    free(list);
    return s;
}

static enum status list_segments(struct batch *b)
{
    struct spool_segment *list;
    size_t n;
    enum status s = spool_list(b->options.spool_dir, &list, &n);

    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < b->n_segments; i++)
        b->segments[i].listed = false;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct segment *g = segment_find(b, list[i].number);

        if (!g && list[i].unreadable)
            continue; /* whose it is shows when it can be read */
        if (!g && (s = add_segment(b, &list[i])) == STATUS_OK)
            g = &b->segments[b->n_segments - 1];
        if (g) {
            g->listed = true;
            if (!list[i].unreadable)
                g->bytes = list[i].bytes;
        }
    }
    free(list);
    return s;
}

enum status batch_look(struct batch *b, struct ingest *in)
{
    enum status s = b->recall ? recall_look(b, in) : STATUS_OK;

    if (s == STATUS_OK)
        s = list_segments(b);
    if (s != STATUS_OK || batch_pending(b))
        return s;
    drop_ended(b);
    if ((s = learn_positions(b, in)) == STATUS_OK) {
        b->recall = false;
        s = recall_settle(b, in);
    }
    return s;
}

void segment_broken(struct segment *s, enum status why)
{
    if (!s->broken)
        log_warning("segment %016" PRIx64 " can't be read: %s", s->number, status_text(why));
    s->broken = true;
}

enum status segment_open(struct batch *b, struct segment *s)
{
    enum status st;

    if (s->reader)
        return STATUS_OK;
    st = spool_reader_open(b->options.spool_dir, s->number, s->next, b->options.node, &s->reader);
    if (st != STATUS_OK && st != STATUS_NOT_FOUND)
        segment_broken(s, st);
    return st;
}
