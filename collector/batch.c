/* batch.c: events of all segments of the node, read in turn for one transaction */
#include "collector/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/examine.h"

#define TURN_EVENTS 256 /* of a segment before the next has its turn */
#define BEHIND_TIMES 10
#define ARENA_BYTES ((size_t)24 << 20)
#define USUAL_EVENT_BYTES 280

struct segment {
    uint64_t number, bytes;
    uint64_t position; /* committed */
    uint64_t next;     /* behind what the batch holds */
    struct spool_reader *reader;
    bool known; /* position is the database's */
    bool final; /* read to its end, and there will be no more */
    bool listed, foreign, broken;
};

struct batch {
    const struct config *config;
    const struct spool_node *node;
    struct segment *segments;
    size_t n_segments, turn;
    struct ingest_event *events;
    size_t n_events, most, cautious; /* cautious: at most so many, after PostgreSQL refused a value; 0: no */
    char alone[40];                  /* why the event of alone_segment and alone_at is rejected; "": none is */
    uint64_t alone_segment, alone_at;
    char *arena;
    size_t arena_used;
    struct ingest_span *spans;
    struct ingest_damage *damage;
    size_t n_damage;
    struct examiner *examiner;
    struct ingest_batch contents;
    bool behind;
    uint64_t read_events, read_bytes;
};

enum status batch_create(const struct config *config, const struct spool_node *node, struct batch **out)
{
    struct batch *b = calloc(1, sizeof(*b));

    if (!b)
        return STATUS_NO_MEMORY;
    b->config = config;
    b->node = node;
    b->most = (size_t)config->collector.batch_rows * BEHIND_TIMES;
    b->events = calloc(b->most, sizeof(*b->events));
    b->damage = calloc(b->most, sizeof(*b->damage));
    b->arena = malloc(ARENA_BYTES);
    if (!b->events || !b->damage || !b->arena || examiner_create(&b->examiner) != STATUS_OK) {
        batch_destroy(b);
        return STATUS_NO_MEMORY;
    }
    *out = b;
    return STATUS_OK;
}

void batch_destroy(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n_segments; i++)
        spool_reader_close(b->segments[i].reader);
    examiner_destroy(b->examiner);
    free(b->segments);
    free(b->spans);
    free(b->events);
    free(b->damage);
    free(b->arena);
    free(b);
}

/* ---- the segments ---- */

static void close_reader(struct segment *s)
{
    spool_reader_close(s->reader);
    s->reader = NULL;
}

static struct segment *find(struct batch *b, uint64_t number)
{
    for (size_t i = 0; i < b->n_segments; i++)
        if (b->segments[i].number == number)
            return &b->segments[i];
    return NULL;
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
    b->segments[b->n_segments++] = (struct segment){
        .number = from->number,
        .foreign = from->header_intact && memcmp(from->node, b->node->uuid, sizeof(from->node)) != 0,
    };
    if (b->segments[b->n_segments - 1].foreign)
        log_warning("segment %016" PRIx64
                    " is another node's and is left alone: bring it in with `tollgate spool ingest`",
                    from->number);
    return STATUS_OK;
}

/* Forgets segments whose file is gone, and removes those that are stored to their end. */
static void drop_ended(struct batch *b)
{
    for (size_t i = 0; i < b->n_segments;) {
        struct segment *s = &b->segments[i];
        bool ended = s->final && s->known && s->position == s->next;

        if (ended && s->listed) {
            close_reader(s);
            if (spool_remove(b->config->paths.spool_dir, s->number) != STATUS_OK)
                ended = false; /* its writer lives again, or the folder can't be written: next time */
        }
        if (!ended && s->listed) {
            i++;
            continue;
        }
        close_reader(s);
        b->segments[i] = b->segments[--b->n_segments];
    }
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
        struct segment *g = find(b, list[i].segment);

        g->position = g->next = list[i].position;
        g->known = true;
    }
    free(list);
    return s;
}

enum status batch_look(struct batch *b, struct ingest *in)
{
    struct spool_segment *list;
    size_t n;
    enum status s = spool_list(b->config->paths.spool_dir, &list, &n);

    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < b->n_segments; i++)
        b->segments[i].listed = false;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct segment *g = find(b, list[i].number);

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
    if (s == STATUS_OK && !batch_pending(b)) {
        drop_ended(b);
        s = learn_positions(b, in);
    }
    return s;
}

/* ---- an event, copied and looked at ---- */

static struct text keep(struct batch *b, struct text t)
{
    struct text kept = {b->arena + b->arena_used, t.length};

    memcpy(b->arena + b->arena_used, t.at, t.length);
    b->arena_used += t.length;
    return kept;
}

static void take(struct batch *b, struct segment *s, const struct event *e, uint64_t position,
                 const struct table *table)
{
    struct ingest_event *i = &b->events[b->n_events++];
    size_t kept;

    *i = (struct ingest_event){.event = *e, .segment = s->number, .position = position};
    i->event.tenant = keep(b, e->tenant);
    i->event.metric = keep(b, e->metric);
    i->event.source = keep(b, e->source);
    i->event.id = keep(b, e->id);
    i->event.metadata = keep(b, e->metadata);
    i->uncounted = table ? !table_holds(table, s->number, position, e) : !(e->flags & EVENT_COUNTED);
    i->reject = examine_event(b->examiner, i, b->arena + b->arena_used, &kept);
    b->arena_used += kept;
    if (!i->reject && b->alone[0] && s->number == b->alone_segment && position == b->alone_at)
        i->reject = b->alone;
}

/* ---- reading ---- */

static enum status open_segment(struct batch *b, struct segment *s)
{
    enum status st;

    if (s->reader)
        return STATUS_OK;
    st = spool_reader_open(b->config->paths.spool_dir, s->number, s->next, b->node->uuid, &s->reader);
    if (st != STATUS_OK && st != STATUS_NOT_FOUND && !s->broken) {
        s->broken = true;
        log_warning("segment %016" PRIx64 " can't be read: %s", s->number, status_text(st));
    }
    return st;
}

static void note_damage(struct batch *b, const struct segment *s, const struct spool_damage *d)
{
    if (d->torn_tail) {
        log_info("segment %016" PRIx64 " ends in %" PRIu64 " bytes of a record that its writer did not finish",
                 s->number, d->to - d->from);
        return;
    }
    log_warning("segment %016" PRIx64 ": bytes %" PRIu64 " to %" PRIu64 " are no records; see `tollgate doctor`",
                s->number, d->from, d->to);
    b->damage[b->n_damage++] = (struct ingest_damage){s->number, d->from, d->to};
}

static size_t room(const struct batch *b)
{
    size_t most = b->cautious ? b->cautious : b->behind ? b->most : (size_t)b->config->collector.batch_rows;

    if (b->n_events >= most || b->n_damage >= b->most || b->arena_used + 2 * EVENT_MAX_BYTES > ARENA_BYTES)
        return 0;
    return most - b->n_events;
}

/* Up to a turn's events of one segment; false when it has no more for now. */
static bool read_turn(struct batch *b, struct segment *s, const struct table *table)
{
    for (size_t i = 0; i < TURN_EVENTS && room(b) > 0; i++) {
        struct spool_damage damage;
        struct event e;
        uint64_t next = s->next, at = s->next;
        bool final = false;
        enum status st = spool_read(s->reader, &e, &next, &damage, &final);

        if (st == STATUS_OK) {
            take(b, s, &e, at, table);
            b->read_events++;
            b->read_bytes += next - at;
        } else if (st == STATUS_DAMAGED) {
            note_damage(b, s, &damage);
        } else {
            s->final = st == STATUS_END && final;
            return false;
        }
        s->next = next;
    }
    return true;
}

/* Reads from a segment if that is possible; false when it has no more for now. */
static bool read_segment(struct batch *b, struct segment *s, const struct table *table)
{
    return s->known && s->listed && !s->foreign && open_segment(b, s) == STATUS_OK && read_turn(b, s, table);
}

enum status batch_read(struct batch *b, const struct table *table)
{
    struct segment *refused = b->alone[0] ? find(b, b->alone_segment) : NULL;

    b->behind = b->behind && !b->cautious;
    if (refused) /* the others' turns come when it is out of the way */
        read_segment(b, refused, table);
    for (size_t empty = 0; b->n_segments > 0 && empty < b->n_segments && room(b) > 0;) {
        struct segment *s = &b->segments[b->turn++ % b->n_segments];

        if (read_segment(b, s, table))
            empty = 0;
        else
            empty++;
    }
    b->behind = room(b) == 0;
    b->contents = (struct ingest_batch){
        .events = b->events, .n_events = b->n_events, .spans = b->spans, .damage = b->damage, .n_damage = b->n_damage};
    for (size_t i = 0; i < b->n_segments; i++)
        if (b->segments[i].known && b->segments[i].next != b->segments[i].position)
            b->spans[b->contents.n_spans++] = (struct ingest_span){b->segments[i].number, b->segments[i].position,
                                                                   b->segments[i].next};
    return batch_pending(b) ? STATUS_OK : STATUS_END;
}

bool batch_pending(const struct batch *b)
{
    return b->contents.n_spans > 0;
}

bool batch_behind(const struct batch *b)
{
    return b->behind;
}

const struct ingest_batch *batch_contents(const struct batch *b)
{
    return &b->contents;
}

static void empty(struct batch *b)
{
    b->n_events = b->n_damage = b->arena_used = 0;
    memset(&b->contents, 0, sizeof(b->contents));
    b->alone[0] = '\0';
}

void batch_stored(struct batch *b)
{
    for (size_t i = 0; i < b->contents.n_spans; i++) {
        struct segment *s = find(b, b->spans[i].segment);

        if (s)
            s->position = b->spans[i].to;
    }
    if (b->cautious && (b->cautious *= 2) > (size_t)b->config->collector.batch_rows)
        b->cautious = 0;
    empty(b);
}

void batch_rewind(struct batch *b)
{
    for (size_t i = 0; i < b->n_segments; i++) {
        close_reader(&b->segments[i]);
        b->segments[i].known = b->segments[i].final = false;
        b->segments[i].next = b->segments[i].position;
    }
    empty(b);
}

void batch_split(struct batch *b, const char *reason)
{
    size_t n = b->n_events;

    if (n == 1) {
        b->alone_segment = b->events[0].segment;
        b->alone_at = b->events[0].position;
    }
    batch_rewind(b);
    b->cautious = n > 1 ? n / 2 : 1;
    if (n == 1 && reason)
        snprintf(b->alone, sizeof(b->alone), "%s", reason);
}

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

static enum status each_of(struct batch *b, const struct segment *s, batch_event_fn *fn, void *arg, uint64_t *end)
{
    struct spool_reader *r;
    enum status st = spool_reader_open(b->config->paths.spool_dir, s->number, s->position, b->node->uuid, &r);
    struct spool_damage damage;
    struct event e;
    bool final;

    *end = s->position;
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
                              void (*read_to)(void *arg, uint64_t segment, uint64_t position))
{
    for (size_t i = 0; i < b->n_segments; i++) {
        uint64_t end;

        if (b->segments[i].foreign || !b->segments[i].known || each_of(b, &b->segments[i], fn, arg, &end) != STATUS_OK)
            continue; /* what can't be read is reported by batch_read */
        read_to(arg, b->segments[i].number, end);
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
    enum status s = m ? spool_list(b->config->paths.spool_dir, &m->segments, &m->n) : STATUS_NO_MEMORY;

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

/* All of it as it was listed. */
static bool is_stored(struct batch *b, const struct spool_segment *g)
{
    const struct segment *s = find(b, g->number);
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

bool batch_passed(struct batch *b, const struct batch_mark *m)
{
    struct batch_mark *now;
    bool passed = true;

    if (batch_mark(b, &now) != STATUS_OK)
        return false;
    for (size_t i = 0; i < m->n && passed; i++)
        passed = is_removed(now, m->segments[i].number) || is_stored(b, &m->segments[i]);
    batch_mark_free(now);
    return passed;
}

bool batch_drained(struct batch *b)
{
    struct batch_mark *now;
    bool drained = !batch_pending(b) && batch_mark(b, &now) == STATUS_OK;

    if (!drained)
        return false;
    for (size_t i = 0; i < now->n && drained; i++)
        drained = is_stored(b, &now->segments[i]);
    batch_mark_free(now);
    return drained;
}
