/* database.c: lib/store/ingest.h as a model: transactions, positions, ids, and connections that break at any point */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/ingest.h"
#include "tests/fault/simulation/sim.h"

#define POSITIONS 512
#define IDS 64

struct ingest {
    int unused;
};

/* Committed, or what a COMMIT that got no answer may still do. */
struct state {
    struct ingest_position positions[POSITIONS];
    size_t n;
    uint64_t settled_below;
    struct sim_book books[SIM_EVENTS];
    bool ids[IDS];
    unsigned damage;
};
static struct state now, later;
static bool in_flight, plant_fault;
static struct ingest the_one;

void database_reset(bool plant)
{
    memset(&now, 0, sizeof(now));
    in_flight = false;
    plant_fault = plant;
}

const struct sim_book *database_book(unsigned serial)
{
    return &now.books[serial];
}

unsigned database_damage(void)
{
    return now.damage;
}

enum status ingest_open(const struct ingest_options *o, struct ingest **out)
{
    (void)o;
    *out = &the_one;
    return STATUS_OK;
}

void ingest_close(struct ingest *in)
{
    (void)in;
}

const char *ingest_error(const struct ingest *in)
{
    (void)in;
    return "";
}

void ingest_result_free(struct ingest_result *r)
{
    memset(r, 0, sizeof(*r));
}

static struct ingest_position *row_of(struct state *s, uint64_t segment)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->positions[i].segment == segment)
            return &s->positions[i];
    return NULL;
}

static uint64_t position_of(struct state *s, uint64_t segment)
{
    const struct ingest_position *row = row_of(s, segment);

    return row ? row->position : segment < s->settled_below ? INGEST_SETTLED : 0;
}

static void put_position(struct state *s, uint64_t segment, uint64_t position)
{
    struct ingest_position *row = row_of(s, segment);

    if (!row && s->n == POSITIONS)
        abort();
    if (!row)
        row = &s->positions[s->n++];
    *row = (struct ingest_position){segment, position};
}

enum status ingest_progress(struct ingest *in, struct ingest_position *segments, size_t n)
{
    (void)in;
    sim_step();
    if (sim_fault(200))
        return STATUS_UNAVAILABLE;
    for (size_t i = 0; i < n; i++)
        segments[i].position = position_of(&now, segments[i].segment);
    return STATUS_OK;
}

static enum status move_positions(struct state *s, const struct ingest_batch *b)
{
    for (size_t i = 0; i < b->n_spans; i++)
        if (position_of(s, b->spans[i].segment) != b->spans[i].from)
            return STATUS_CONFLICT;
    for (size_t i = 0; i < b->n_spans; i++)
        put_position(s, b->spans[i].segment, b->spans[i].to);
    return STATUS_OK;
}

/* "t<n>": tenants from `gone` on are deleted; ids are "i<n>". */
static void put(struct state *s, const struct ingest_event *e, struct ingest_result *r)
{
    uint64_t serial = (uint64_t)e->event.value / SIM_KINDS;

    if (e->event.value < 0 || serial >= SIM_EVENTS)
        abort(); /* invented */
    struct sim_book *book = &s->books[serial];

    if (e->reject || e->event.tenant.at[1] == 'g') {
        book->rejected++;
        r->rejected++;
        return;
    }
    if (e->event.id.length) {
        bool *claimed = &s->ids[e->event.id.at[0] - '0'];

        if (*claimed) {
            book->duplicate++;
            r->duplicates++;
            return;
        }
        *claimed = true;
    }
    book->stored++;
    r->stored++;
}

/* A COMMIT that was under way ends one way or the other before anything that waits for its locks. */
static void land(void)
{
    if (in_flight && sim_random(2))
        now = later;
    in_flight = false;
}

enum status ingest_store(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result)
{
    static struct state mine;
    enum status s;

    (void)in;
    memset(result, 0, sizeof(*result));
    sim_step();
    land();
    if (sim_fault(300))
        return STATUS_UNAVAILABLE;
    mine = now;
    if ((s = move_positions(&mine, batch)) != STATUS_OK)
        return s;
    if (plant_fault) { /* the positions are committed apart from the rows */
        now = mine;
    }
    if (sim_fault(300))
        return STATUS_CONFLICT; /* a deadlock */
    for (size_t i = 0; i < batch->n_events; i++)
        if (!batch->events[i].reject && batch->events[i].event.value % SIM_KINDS == SIM_POISON)
            return STATUS_INVALID;
    for (size_t i = 0; i < batch->n_events; i++)
        put(&mine, &batch->events[i], result);
    mine.damage += (unsigned)batch->n_damage;
    sim_note(now.n + result->stored);
    if (!sim_fault(500)) {
        now = mine;
        /* the answer may not arrive: the process is killed here */
        sim_step();
        return STATUS_OK;
    }
    result->unsure = true;
    switch (sim_random(3)) {
    case 0: /* done, the answer was lost */
        now = mine;
        break;
    case 1: /* not done */
        break;
    default: /* under way on the server */
        later = mine;
        in_flight = true;
    }
    return STATUS_UNAVAILABLE;
}

enum status ingest_changes(struct ingest *in, int max, struct ingest_result *result)
{
    (void)in, (void)max;
    memset(result, 0, sizeof(*result));
    return STATUS_OK;
}

enum status ingest_settle(struct ingest *in, uint64_t below, const uint64_t *settled, size_t n_settled,
                          const uint64_t *open, size_t n_open)
{
    (void)in;
    sim_step();
    if (sim_fault(200))
        return STATUS_UNAVAILABLE;
    land();
    for (size_t i = 0; i < n_settled; i++) {
        struct ingest_position *row = row_of(&now, settled[i]);

        if (row)
            *row = now.positions[--now.n];
    }
    for (size_t i = 0; i < n_open; i++)
        if (open[i] >= now.settled_below && !row_of(&now, open[i]))
            put_position(&now, open[i], 0);
    if (below > now.settled_below)
        now.settled_below = below;
    return STATUS_OK;
}
