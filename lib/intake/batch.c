/* batch.c: events of all segments of a node, read in turn for one transaction, and stored */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/intake/batch_parts.h"

#define TURN_EVENTS 256 /* of a segment before the next has its turn */
#define BEHIND_TIMES 10
#define ARENA_BYTES ((size_t)24 << 20)

enum status batch_create(const struct batch_options *options, struct batch **out)
{
    struct batch *b = calloc(1, sizeof(*b));

    if (!b)
        return STATUS_NO_MEMORY;
    b->options = *options;
    b->most = options->rows * BEHIND_TIMES;
    b->recall = options->remove_ended;
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
        segment_close(&b->segments[i]);
    examiner_destroy(b->examiner);
    ingest_result_free(&b->result);
    free(b->settled);
    free(b->was);
    free(b->segments);
    free(b->spans);
    free(b->events);
    free(b->damage);
    free(b->arena);
    free(b);
}

/* ---- an event, copied and looked at ---- */

static struct text keep(struct batch *b, struct text t)
{
    struct text kept = {b->arena + b->arena_used, t.length};

    memcpy(b->arena + b->arena_used, t.at, t.length);
    b->arena_used += t.length;
    return kept;
}

static void take(struct batch *b, const struct segment *s, const struct event *e, bool uncounted)
{
    struct ingest_event *i = &b->events[b->n_events++];
    size_t kept;

    *i = (struct ingest_event){.event = *e, .segment = s->number, .position = s->next, .uncounted = uncounted};
    i->event.tenant = keep(b, e->tenant);
    i->event.metric = keep(b, e->metric);
    i->event.source = keep(b, e->source);
    i->event.id = keep(b, e->id);
    i->event.metadata = keep(b, e->metadata);
    i->reject = examine_event(b->examiner, i, b->arena + b->arena_used, &kept);
    b->arena_used += kept;
    if (!i->reject && b->alone && s->number == b->alone_segment && s->next == b->alone_at)
        i->reject = "refused";
}

/* ---- reading ---- */

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
    size_t most = b->cautious ? b->cautious : b->behind ? b->most : b->options.rows;

    if (b->n_events >= most || b->n_damage >= b->most || b->arena_used + 2 * EVENT_MAX_BYTES > ARENA_BYTES)
        return 0;
    return most - b->n_events;
}

struct holds {
    batch_holds_fn *holds;
    const void *table;
};

static bool is_uncounted(const struct holds *h, const struct segment *s, const struct event *e)
{
    return h->holds ? !h->holds(h->table, s->number, s->next, e) : !(e->flags & EVENT_COUNTED);
}

/* Up to a turn's events of one segment; false when it has no more for now. */
static bool read_turn(struct batch *b, struct segment *s, const struct holds *h)
{
    for (size_t i = 0; i < TURN_EVENTS && room(b) > 0; i++) {
        struct spool_damage damage;
        struct event e;
        uint64_t next = s->next;
        bool final = false;
        enum status st = spool_read(s->reader, &e, &next, &damage, &final);

        if (st == STATUS_OK) {
            take(b, s, &e, is_uncounted(h, s, &e));
            b->read_events++;
            b->read_bytes += next - s->next;
        } else if (st == STATUS_DAMAGED) {
            note_damage(b, s, &damage);
        } else {
            s->final = st == STATUS_END && final;
            if (st != STATUS_END)
                segment_broken(s, st);
            return false;
        }
        s->next = next;
    }
    return true;
}

/* Reads from a segment if that is possible; false when it has no more for now. */
static bool read_segment(struct batch *b, struct segment *s, const struct holds *h)
{
    return s->known && s->listed && !s->foreign && segment_open(b, s) == STATUS_OK && read_turn(b, s, h);
}

enum status batch_read(struct batch *b, batch_holds_fn *holds, const void *table)
{
    const struct holds h = {holds, table};
    struct segment *refused = b->alone ? segment_find(b, b->alone_segment) : NULL;

    b->behind = b->behind && !b->cautious;
    if (refused) /* the others' turns come when it is out of the way */
        read_segment(b, refused, &h);
    for (size_t empty = 0; b->n_segments > 0 && empty < b->n_segments && room(b) > 0;) {
        struct segment *s = &b->segments[b->turn++ % b->n_segments];

        if (read_segment(b, s, &h))
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

void batch_empty(struct batch *b)
{
    b->n_events = b->n_damage = b->arena_used = 0;
    memset(&b->contents, 0, sizeof(b->contents));
    b->alone = false;
}

void batch_stored(struct batch *b)
{
    for (size_t i = 0; i < b->contents.n_spans; i++) {
        struct segment *s = segment_find(b, b->spans[i].segment);

        if (s)
            s->position = b->spans[i].to;
    }
    if (b->cautious && (b->cautious *= 2) > b->options.rows)
        b->cautious = 0;
    batch_empty(b);
}

/* ---- storing ---- */

/* Nothing of it is known to be stored: it is read again, from the positions that the database holds. */
static void again(struct batch *b)
{
    for (size_t i = 0; i < b->n_segments; i++) {
        segment_close(&b->segments[i]);
        b->segments[i].known = b->segments[i].final = false;
        b->segments[i].next = b->segments[i].position;
    }
    batch_empty(b);
}

/* It did not go in as a whole: half as many at a time. A single event that is refused will be rejected. */
static void split(struct batch *b, bool refused)
{
    size_t n = b->n_events;

    if (n == 1) {
        b->alone_segment = b->events[0].segment;
        b->alone_at = b->events[0].position;
    }
    again(b);
    b->cautious = n > 1 ? n / 2 : 1;
    b->alone = n == 1 && refused;
}

/* A COMMIT without an answer: the positions tell. Not done: STATUS_END, nothing of it is stored. */
static enum status settle(struct batch *b, struct ingest *in)
{
    size_t n = b->contents.n_spans, at_end = 0;
    struct ingest_position *list = calloc(n + 1, sizeof(*list));
    enum status s;

    if (!list)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        list[i].segment = b->spans[i].segment;
    if ((s = ingest_progress(in, list, n)) == STATUS_OK) {
        for (size_t i = 0; i < n; i++)
            at_end += list[i].position == b->spans[i].to;
        log_info("the commit that got no answer was %s", at_end == n ? "done" : "not done");
        s = at_end == n ? STATUS_OK : STATUS_END;
        b->unsure = false;
    }
    free(list);
    return s;
}

static void not_stored(struct batch *b, struct ingest *in, enum status why, struct ingest_result *result)
{
    if (why == STATUS_UNAVAILABLE && result->unsure) {
        b->unsure = true;
        b->result = *result;
        memset(result, 0, sizeof(*result));
        return;
    }
    ingest_result_free(result);
    if (why == STATUS_INVALID) {
        log_warning("PostgreSQL refuses a value in a batch of %zu: %s", b->n_events, ingest_error(in));
        split(b, true);
    } else if (why == STATUS_TIMEOUT) {
        split(b, false);
    } else if (why != STATUS_UNAVAILABLE) {
        again(b);
    }
}

enum status batch_store(struct batch *b, struct ingest *in, struct ingest_result *result)
{
    enum status s = b->unsure ? settle(b, in) : STATUS_END;

    memset(result, 0, sizeof(*result));
    if (s == STATUS_OK) {
        *result = b->result;
        memset(&b->result, 0, sizeof(b->result));
    } else if (s == STATUS_END) {
        ingest_result_free(&b->result);
        if ((s = ingest_store(in, &b->contents, result)) == STATUS_LIMIT)
            s = STATUS_INVALID;
        if (s != STATUS_OK)
            not_stored(b, in, s, result);
    }
    return s;
}
