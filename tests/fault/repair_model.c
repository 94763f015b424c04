/*
 * repair_model.c: every interleaving of takers, kills and a repairer of the limit table, small enough to be looked at whole
 *
 * The steps are those of limit_table/take.c (mark, take, append or give back, done), limit_table/counts.c (idle, repair) and the
 * collector's repair of a tenant, one access to what is shared each. Takers may be killed before any of them. What must
 * hold in every state: rows never exceed the limit, and the count holds every row and every call that a living taker has
 * taken. When all is still, repairing brings the count to the rows. Orders that are wrong have to be found.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#define TAKERS 2
#define LIMIT 2
#define CALLS 2
#define PLACES (1u << 22)

enum taker_step { TAKER_MARK, TAKER_TAKE, TAKER_APPEND, TAKER_UNDO, TAKER_TELL, TAKER_DONE, TAKER_ENDED };
enum repairer_step {
    REPAIR_UNDONE,
    REPAIR_COUNT,
    REPAIR_IDLE,
    REPAIR_DRAINED,
    REPAIR_ROWS,
    REPAIR_COMPARE,
    REPAIR_IDLE_AGAIN,
    REPAIR_SWAP
};
#define NOTHING 255 /* noted */

/* Bytes alone: states are compared and hashed as such. */
struct state {
    uint8_t count, spool, stored, undone;
    struct {
        uint8_t step, mark, dead, calls;
    } takers[TAKERS];
    uint8_t repairer, at; /* at: the writer whose mark is looked at next */
    uint8_t seen, right, noted, undone_before;
};

struct order {
    const char *name;
    bool idle_before, idle_after; /* the spool is looked at */
    bool mark_late;               /* after the take */
    bool undo_silently;           /* without a word to the repairer */
    bool right;
};

static struct state *visited, *stack;
static bool *used;
static size_t n_visited, n_stack;
static const char *broken;

static void visit(const struct state *s)
{
    uint64_t i = XXH3_64bits(s, sizeof(*s));

    for (i &= PLACES - 1; used[i]; i = (i + 1) & (PLACES - 1))
        if (memcmp(&visited[i], s, sizeof(*s)) == 0)
            return;
    if (++n_visited == PLACES / 2) {
        fprintf(stderr, "repair_model: too many states\n");
        exit(1);
    }
    used[i] = true;
    visited[i] = *s;
    stack[n_stack++] = *s;
}

static bool holds(const struct state *s)
{
    unsigned rows = s->spool + s->stored, taken = 0;

    for (int i = 0; i < TAKERS; i++)
        taken += !s->takers[i].dead && s->takers[i].step >= TAKER_APPEND && s->takers[i].step <= TAKER_UNDO;
    if (rows > LIMIT)
        broken = "more rows than the limit";
    else if (s->count < rows + taken)
        broken = "a call was lost from the count";
    return !broken;
}

static void take(struct state *s, int i, const struct order *o)
{
    if (o->mark_late)
        s->takers[i].mark = 0;
    if (s->count < LIMIT) {
        s->count++;
        s->takers[i].step = TAKER_APPEND;
    } else {
        s->takers[i].step = TAKER_DONE;
    }
}

/* One step of a taker; the append may fail, which is another state. */
static void step_taker(struct state s, int i, const struct order *o)
{
    switch (s.takers[i].step) {
    case TAKER_MARK:
        if (!o->mark_late)
            s.takers[i].mark = 1;
        s.takers[i].step = TAKER_TAKE;
        break;
    case TAKER_TAKE:
        take(&s, i, o);
        break;
    case TAKER_APPEND:
        if (o->mark_late && !s.takers[i].mark) {
            s.takers[i].mark = 1;
            break;
        }
        s.takers[i].step = TAKER_UNDO;
        visit(&s);
        s.spool++;
        s.takers[i].step = TAKER_DONE;
        break;
    case TAKER_UNDO:
        s.count -= s.count > 0;
        s.takers[i].step = TAKER_TELL;
        break;
    case TAKER_TELL:
        s.undone += !o->undo_silently;
        s.takers[i].step = TAKER_DONE;
        break;
    default:
        s.takers[i].mark = 0;
        s.takers[i].step = --s.takers[i].calls ? TAKER_MARK : TAKER_ENDED;
    }
    visit(&s);
}

/* The pass is over; what it noted stays for the next. */
static void pass_ends(struct state *s, uint8_t noted)
{
    s->repairer = REPAIR_UNDONE;
    s->at = s->seen = s->right = s->undone_before = 0;
    s->noted = noted;
}

/* One writer's mark; a dead one's is cleared. */
static void look_at_mark(struct state *s, bool wanted, enum repairer_step next)
{
    if (wanted && s->at < TAKERS) {
        if (s->takers[s->at].mark && !s->takers[s->at].dead) {
            pass_ends(s, NOTHING);
            return;
        }
        s->undone += s->takers[s->at].mark; /* it may have died between giving back and telling */
        s->takers[s->at++].mark = 0;
        return;
    }
    s->at = 0;
    s->repairer = (uint8_t)next;
}

static void step_repairer(struct state s, const struct order *o)
{
    switch (s.repairer) {
    case REPAIR_UNDONE:
        s.undone_before = s.undone;
        s.repairer = REPAIR_COUNT;
        break;
    case REPAIR_COUNT:
        s.seen = s.count;
        s.repairer = REPAIR_IDLE;
        break;
    case REPAIR_IDLE:
        look_at_mark(&s, o->idle_before, REPAIR_DRAINED);
        break;
    case REPAIR_DRAINED:
        if (s.spool || s.undone != s.undone_before)
            pass_ends(&s, NOTHING);
        else
            s.repairer = REPAIR_ROWS;
        break;
    case REPAIR_ROWS:
        s.right = s.stored;
        s.repairer = REPAIR_COMPARE;
        break;
    case REPAIR_COMPARE: /* a drift is repaired when it stands as it did the time before */
        if (s.right == s.seen)
            pass_ends(&s, NOTHING);
        else if (s.noted == s.seen)
            s.repairer = REPAIR_IDLE_AGAIN;
        else
            pass_ends(&s, s.seen);
        break;
    case REPAIR_IDLE_AGAIN:
        look_at_mark(&s, o->idle_after, REPAIR_SWAP);
        break;
    default:
        if (s.count == s.seen)
            s.count = s.right;
        pass_ends(&s, NOTHING);
    }
    visit(&s);
}

/* Nobody takes any more and all is stored: repairing alone has to bring the count to the rows. */
static bool settles(const struct state *s, const struct order *o)
{
    struct state now = *s;

    for (int i = 0; i < TAKERS; i++)
        if (!now.takers[i].dead && now.takers[i].step != TAKER_ENDED)
            return true;
    now.stored = (uint8_t)(now.stored + now.spool);
    now.spool = 0;
    for (int steps = 0; steps < 64 && now.count != now.stored; steps++) {
        n_stack = 0;
        memset(used, 0, PLACES * sizeof(*used));
        n_visited = 0;
        step_repairer(now, o);
        now = stack[0];
    }
    return now.count == now.stored;
}

static void step_all(const struct state *s, const struct order *o)
{
    struct state other = *s;

    for (int i = 0; i < TAKERS; i++) {
        if (s->takers[i].dead || s->takers[i].step == TAKER_ENDED)
            continue;
        step_taker(*s, i, o);
        other.takers[i].dead = 1;
        visit(&other);
        other = *s;
    }
    if (s->spool) {
        other.stored = (uint8_t)(other.stored + other.spool);
        other.spool = 0;
        visit(&other);
    }
    step_repairer(*s, o);
}

/* All states that can be reached; those where all is still are kept for settles, which uses the same memory. */
static size_t explore(const struct order *o)
{
    static struct state still[4096];
    struct state first = {.repairer = REPAIR_UNDONE, .noted = NOTHING};
    size_t n_still = 0, states;

    for (int i = 0; i < TAKERS; i++)
        first.takers[i].calls = CALLS;
    memset(used, 0, PLACES * sizeof(*used));
    n_visited = n_stack = 0;
    broken = NULL;
    visit(&first);
    while (n_stack > 0 && !broken) {
        const struct state s = stack[--n_stack];

        if (!holds(&s))
            break;
        bool moving = s.spool != 0 || s.repairer != REPAIR_UNDONE || s.noted != NOTHING;

        for (int i = 0; i < TAKERS; i++)
            moving = moving || (!s.takers[i].dead && s.takers[i].step != TAKER_ENDED);
        if (!moving && n_still < sizeof(still) / sizeof(still[0]))
            still[n_still++] = s;
        step_all(&s, o);
    }
    states = n_visited;
    for (size_t i = 0; i < n_still && !broken; i++)
        if (!settles(&still[i], o))
            broken = "a count that a kill left too high stays";
    return states;
}

int main(void)
{
    static const struct order orders[] = {
        {"count, idle, spool, rows, idle, swap", true, true, false, false, true},
        {"planted: idle only after the rows were read", false, true, false, false, false},
        {"planted: nobody asks whether it is idle", false, false, false, false, false},
        {"planted: marked after it was taken", true, true, true, false, false},
        {"planted: what is given back is not told", true, true, false, true, false},
    };
    int passed = 0, failed = 0;

    visited = calloc(PLACES, sizeof(*visited));
    stack = calloc(PLACES, sizeof(*stack));
    used = calloc(PLACES, sizeof(*used));
    if (!visited || !stack || !used)
        return 1;
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        size_t states = explore(&orders[i]);
        bool ok = orders[i].right == !broken;

        printf("%s: %s: %zu states, %s\n", ok ? "ok" : "NOT OK", orders[i].name, states,
               broken ? broken : "every one holds");
        passed += ok;
        failed += !ok;
    }
    free(visited);
    free(stack);
    free(used);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
