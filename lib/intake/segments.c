/* segments.c: the segments that a batch reads from, the positions up to which they are stored, and those that are put away */
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

/* ---- stored to their end: kept for a time, settled in the database ---- */

static bool note_settled(struct batch *b, uint64_t number)
{
    uint64_t *grown = realloc(b->settled, (b->n_settled + 1) * sizeof(*grown));

    if (!grown)
        return false;
    b->settled = grown;
    b->settled[b->n_settled++] = number;
    return true;
}

/* Keeps or removes it; false: not now. */
static bool put_away(struct batch *b, const struct segment *s)
{
    const char *dir = b->options.spool_dir;
    enum status st = b->options.keep_minutes ? spool_keep(dir, s->number) : spool_remove(dir, s->number);

    if (st != STATUS_OK)
        return false; /* its writer lives again, or the folder can't be written: next time */
    if (!b->options.keep_minutes && spool_gone_add(dir, s->number, s->bytes) != STATUS_OK)
        log_info("segment %016" PRIx64 " is removed, and not remembered", s->number);
    if (!note_settled(b, s->number))
        log_info("segment %016" PRIx64 " is stored, and its row stays", s->number);
    return true;
}

/* Of the segments that are there, those below `below` that are not settled. */
static enum status list_open(struct batch *b, uint64_t below, uint64_t **open, size_t *n)
{
    struct spool_segment *list;
    size_t n_list, used = 0;
    enum status s = spool_list(b->options.spool_dir, &list, &n_list);

    if (s != STATUS_OK)
        return s;
    if (!(*open = calloc(n_list + 1, sizeof(**open))))
        s = STATUS_NO_MEMORY;
    for (size_t i = 0; i < n_list && s == STATUS_OK; i++) {
        const struct segment *g = segment_find(b, list[i].number);

        if (list[i].number < below && !(g && g->foreign))
            (*open)[used++] = list[i].number;
    }
    *n = used;
    free(list);
    return s;
}

/*
 * The floor first, then the list: a segment with a smaller number is either in the list or given up by its writer. So in the
 * database "below this, all but these" is true.
 */
static enum status settle(struct batch *b, struct ingest *in)
{
    uint64_t below = 0, *open;
    size_t n;
    enum status s;

    if (b->n_settled == 0)
        return STATUS_OK;
    for (size_t i = 0; i < b->n_settled; i++)
        if (b->settled[i] >= below)
            below = b->settled[i] + 1;
    if (spool_floor_raise(b->options.spool_dir, below) != STATUS_OK)
        return STATUS_OK; /* a full disk: their rows stay until the next time */
    if ((s = list_open(b, below, &open, &n)) != STATUS_OK)
        return s;
    if ((s = ingest_settle(in, below, b->settled, b->n_settled, open, n)) == STATUS_OK)
        b->n_settled = 0;
    free(open);
    return s;
}

/* ---- and read again when the database went back ---- */

void batch_forget(struct batch *b)
{
    for (size_t i = 0; i < b->n_segments; i++)
        segment_close(&b->segments[i]);
    free(b->was);
    b->was = b->segments;
    b->n_was = b->n_segments;
    b->segments = NULL;
    b->n_segments = b->n_settled = 0;
    b->unsure = false;
    ingest_result_free(&b->result);
    batch_empty(b);
    memset(&b->again, 0, sizeof(b->again));
    b->recall = b->went_back = true;
}

bool batch_again(struct batch *b, struct batch_again *out)
{
    bool told = !b->recall && (b->went_back || b->again.segments > 0);

    *out = b->again;
    if (told) {
        memset(&b->again, 0, sizeof(b->again));
        b->went_back = false;
    }
    return told;
}

/* Its position is known. */
static void note_learned(struct batch *b, const struct segment *s)
{
    for (size_t i = 0; i < b->n_was; i++)
        if (b->was[i].number == s->number && b->was[i].known && b->was[i].position > s->position) {
            b->again.segments++;
            b->again.bytes += b->was[i].position - s->position;
        }
}

static uint64_t missing(const struct spool_kept *k, uint64_t position)
{
    uint64_t done = position ? position : SPOOL_HEADER_BYTES;

    return k->bytes > done ? k->bytes - done : 0;
}

/* Calls fn for each that the database lacks a part of. */
static enum status each_missing(struct batch *b, struct ingest *in, const struct spool_kept *list, size_t n,
                                void (*fn)(struct batch *b, const struct spool_kept *k, uint64_t bytes))
{
    struct ingest_position *at = calloc(n + 1, sizeof(*at));
    enum status s = at ? STATUS_OK : STATUS_NO_MEMORY;

    for (size_t i = 0; at && i < n; i++)
        at[i].segment = list[i].number;
    if (s == STATUS_OK && n > 0)
        s = ingest_progress(in, at, n);
    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        if (missing(&list[i], at[i].position) > 0)
            fn(b, &list[i], missing(&list[i], at[i].position));
    free(at);
    return s;
}

static void take_back(struct batch *b, const struct spool_kept *k, uint64_t bytes)
{
    enum status s = spool_kept_back(b->options.spool_dir, k->number);

    if (s != STATUS_OK) {
        log_error("segment %016" PRIx64 " can't be taken out of kept/: %s", k->number, status_text(s));
        return;
    }
    b->again.segments++;
    b->again.bytes += bytes;
}

static void note_gone(struct batch *b, const struct spool_kept *k, uint64_t bytes)
{
    (void)k;
    b->again.segments_gone++;
    b->again.bytes_gone += bytes;
}

/* What is kept and was stored stays; its row, which a crash may have left, goes with the next that is settled. */
static enum status look_at_kept(struct batch *b, struct ingest *in)
{
    struct spool_kept *list;
    size_t n;
    enum status s = spool_kept_list(b->options.spool_dir, &list, &n);

    if (s != STATUS_OK)
        return s;
    s = each_missing(b, in, list, n, take_back);
    free(list);
    return s;
}

static enum status look_at_gone(struct batch *b, struct ingest *in)
{
    struct spool_kept *list;
    size_t n;
    enum status s = spool_gone_list(b->options.spool_dir, &list, &n);

    if (s != STATUS_OK)
        return s;
    s = each_missing(b, in, list, n, note_gone);
    if (s == STATUS_OK)
        spool_gone_clear(b->options.spool_dir); /* said once */
    free(list);
    return s;
}

/* Takes kept segments out again that the database lacks a part of. */
static enum status take_kept_back(struct batch *b, struct ingest *in)
{
    enum status s = b->went_back ? look_at_gone(b, in) : STATUS_OK;

    return s == STATUS_OK ? look_at_kept(b, in) : s;
}

/* ---- those that are there ---- */

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
            ended = put_away(b, s);
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
        note_learned(b, g);
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
    enum status s = b->recall ? take_kept_back(b, in) : STATUS_OK;

    if (s == STATUS_OK)
        s = list_segments(b);
    if (s != STATUS_OK || batch_pending(b))
        return s;
    drop_ended(b);
    if ((s = learn_positions(b, in)) == STATUS_OK) {
        b->recall = false;
        s = settle(b, in);
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
