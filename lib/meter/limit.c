/* limit.c: may it pass? */
#include "lib/meter/limit.h"

#include <string.h>

#define MINUTE_NS INT64_C(60000000000)
#define LEASE_WAIT_US INT64_C(1000000) /* a lease is granted within about a second, if anything is left */

typedef __int128 wide;

/* Amounts and counts may be anything that fits: what does not is as good as the most that does. */
static int64_t clamp(wide n)
{
    return n > INT64_MAX ? INT64_MAX : n < INT64_MIN ? INT64_MIN : (int64_t)n;
}

static int64_t plain_limit(const struct limit *l, int64_t now_us)
{
    return now_us < l->until_us ? l->max : l->max_after;
}

void limit_add(struct limit *l, int64_t amount)
{
    if (l->max != LIMIT_UNLIMITED)
        l->max = clamp((wide)l->max + amount);
    if (l->max_after != LIMIT_UNLIMITED)
        l->max_after = clamp((wide)l->max_after + amount);
}

static int64_t ceiling_of(const struct limit *l, int64_t plain, int64_t now_us)
{
    if (plain == LIMIT_UNLIMITED || l->mode == LIMIT_SOFT)
        return LIMIT_UNLIMITED;
    if (l->mode != LIMIT_GRACE)
        return plain;
    if (now_us < l->grace_until_us)
        return LIMIT_UNLIMITED;
    return clamp(plain + (wide)plain * l->grace_percent / 100);
}

static int64_t at_least_zero(int64_t n)
{
    return n < 0 ? 0 : n;
}

/* The end of a limit that is granted in leases: at least one unit, so that a small limit has one, too. */
static int64_t leased_part(const struct limit *l, int64_t ceiling)
{
    if (!l->lease_percent || ceiling == LIMIT_UNLIMITED || l->window == LIMIT_WINDOW_NONE ||
        l->window == LIMIT_WINDOW_MINUTE || limit_is_observed(l->aggregation))
        return 0;
    int64_t part = (int64_t)((wide)ceiling * l->lease_percent / 100);
    if (part < EVENT_MILLION)
        part = EVENT_MILLION;
    return part < ceiling ? part : ceiling;
}

int64_t limit_unleased(const struct limit *l, int64_t now_us)
{
    int64_t ceiling = ceiling_of(l, plain_limit(l, now_us), now_us), part = leased_part(l, ceiling);
    return part ? ceiling - part : LIMIT_UNLIMITED;
}

/* Fixed windows and gauges: what is used, plus this. */
static void decide_fixed(const struct limit *l, const struct limit_count *c, int64_t amount, int64_t now_us,
                         struct limit_verdict *v)
{
    int64_t after = clamp((wide)c->used + amount), part = leased_part(l, v->ceiling);
    v->used = c->used;
    v->resets_us = c->end_us;
    v->allowed = v->ceiling == LIMIT_UNLIMITED || (amount ? after <= v->ceiling : c->used < v->ceiling);
    if (part == 0 || !v->allowed)
        return;
    v->leased = amount ? after > v->ceiling - part : c->used >= v->ceiling - part;
    if (v->leased && (amount ? c->leased < amount : c->leased <= 0)) {
        v->allowed = false;
        v->resets_us = now_us + LEASE_WAIT_US;
    }
}

/* What the collector counts: used is not what this call makes of it. */
static void decide_observed(const struct limit *l, const struct limit_count *c, int64_t amount, struct limit_verdict *v)
{
    int64_t most = l->aggregation == LIMIT_MAX && amount > c->used ? amount : c->used;
    v->used = c->used;
    v->resets_us = c->end_us;
    v->allowed = v->ceiling == LIMIT_UNLIMITED || (v->ceiling > 0 && most <= v->ceiling);
}

static wide divide_up(wide n, wide by)
{
    return by > 0 ? (n + by - 1) / by : n; /* no interval is 0, but a checker can't know */
}

/* What a minute's bucket holds: the ceiling, or the plain limit when nothing is refused. */
static int64_t bucket_size(const struct limit_verdict *v)
{
    return v->ceiling == LIMIT_UNLIMITED ? v->limit : v->ceiling;
}

static int64_t interval_of(int64_t size)
{
    return clamp(divide_up((wide)MINUTE_NS * EVENT_MILLION, size));
}

/*
 * GCRA. One unit takes `interval` of a bucket that holds `limit` units and leaks for a minute; the interval is rounded up and
 * the bucket is made of intervals, so exactly `limit` units pass at once, never one more. Both sides are compared before they are
 * divided, so that a limit of a fraction holds, too.
 */
static void decide_minute(const struct limit_count *c, int64_t amount, int64_t now_us, struct limit_verdict *v)
{
    int64_t size = bucket_size(v), now_ns = now_us * 1000;
    if (size == 0) {
        v->allowed = v->ceiling == LIMIT_UNLIMITED;
        return;
    }
    int64_t interval = interval_of(size);
    wide full = (wide)interval * size, bucket = divide_up(full, EVENT_MILLION);
    int64_t tat = c->tat_ns > now_ns ? c->tat_ns : now_ns;
    if (tat - now_ns > bucket) /* a clock set back, or a limit raised: never more than a full bucket */
        tat = now_ns + (int64_t)bucket;
    wide held = (wide)(tat - now_ns) * EVENT_MILLION, taken = (wide)interval * amount;
    bool fits = amount ? held + taken <= full : held < full;
    v->used = clamp(divide_up(held, interval));
    if (v->used > size)
        v->used = size;
    v->allowed = v->ceiling == LIMIT_UNLIMITED || fits;
    if (v->allowed) {
        v->tat_ns = fits ? (int64_t)(tat + divide_up(taken, EVENT_MILLION)) : now_ns + (int64_t)bucket;
        v->resets_us = clamp(divide_up(v->tat_ns, 1000));
    } else if (amount <= size) {
        v->resets_us = clamp(divide_up(tat - (full - taken) / EVENT_MILLION, 1000));
    }
}

void limit_decide(const struct limit *l, const struct limit_count *c, int64_t amount, int64_t now_us,
                  struct limit_verdict *out)
{
    struct limit_verdict v = {.limit = plain_limit(l, now_us), .mode = l->mode};
    if (l->mode == LIMIT_GRACE && now_us < l->grace_until_us)
        v.grace_until_us = l->grace_until_us;
    v.ceiling = ceiling_of(l, v.limit, now_us);
    if (v.limit == LIMIT_UNLIMITED) {
        v.allowed = v.unlimited = true;
        v.used = l->window == LIMIT_WINDOW_MINUTE ? 0 : c->used;
        v.resets_us = c->end_us;
        *out = v;
        return;
    }
    if (l->window == LIMIT_WINDOW_MINUTE)
        decide_minute(c, amount, now_us, &v);
    else if (limit_is_observed(l->aggregation))
        decide_observed(l, c, amount, &v);
    else
        decide_fixed(l, c, amount, now_us, &v);
    bool adds = v.allowed && !limit_is_observed(l->aggregation);
    int64_t after = clamp((wide)v.used + (adds ? amount : 0));
    v.over = v.allowed && after > v.limit;
    v.overage = at_least_zero(clamp((wide)after - v.limit));
    v.remaining = at_least_zero(clamp((wide)(v.ceiling == LIMIT_UNLIMITED ? v.limit : v.ceiling) - after));
    if (v.leased && !v.allowed) /* what remains is not this node's */
        v.remaining = 0;
    *out = v;
}

int64_t limit_minute_cost(const struct limit_verdict *v, int64_t amount)
{
    int64_t size = bucket_size(v);
    return size > 0 ? clamp(divide_up((wide)interval_of(size) * amount, EVENT_MILLION)) : 0;
}

bool limit_is_observed(uint8_t aggregation)
{
    return aggregation == LIMIT_MAX || aggregation == LIMIT_UNIQUE;
}

double limit_percent(int64_t used, int64_t max)
{
    if (max == LIMIT_UNLIMITED)
        return 0;
    if (max == 0)
        return used > 0 ? 100 : 0;
    return 100.0 * (double)used / (double)max;
}

const char *limit_window_name(uint8_t window)
{
    static const char *const names[LIMIT_WINDOWS] = {
        [LIMIT_WINDOW_NONE] = "none", [LIMIT_WINDOW_MINUTE] = "minute", [LIMIT_WINDOW_HOUR] = "hour",
        [LIMIT_WINDOW_DAY] = "day",   [LIMIT_WINDOW_WEEK] = "week",     [LIMIT_WINDOW_PERIOD] = "period",
    };
    return names[window < LIMIT_WINDOWS ? window : LIMIT_WINDOW_NONE];
}

enum limit_mode limit_mode_of(const char *text)
{
    return text[0] == 's' ? LIMIT_SOFT : text[0] == 'g' ? LIMIT_GRACE : LIMIT_HARD;
}

enum limit_state limit_state_of(const char *text)
{
    return text[0] == 's'   ? LIMIT_TENANT_SUSPENDED
           : text[0] == 'n' ? LIMIT_TENANT_NO_SUBSCRIPTION
                            : LIMIT_TENANT_ACTIVE;
}

enum limit_reason limit_reason_of_state(enum limit_state state)
{
    switch (state) {
    case LIMIT_TENANT_ACTIVE:
        return LIMIT_ADMITTED;
    case LIMIT_TENANT_SUSPENDED:
        return LIMIT_SUSPENDED;
    default:
        return LIMIT_NO_SUBSCRIPTION;
    }
}

int limit_reason_status(enum limit_reason r)
{
    static const int statuses[] = {
        [LIMIT_ADMITTED] = 200,
        [LIMIT_REACHED] = LIMIT_STATUS_REACHED,
        [LIMIT_NO_SUBSCRIPTION] = LIMIT_STATUS_NO_SUBSCRIPTION,
        [LIMIT_METRIC_UNKNOWN] = LIMIT_STATUS_METRIC_UNKNOWN,
        [LIMIT_SUSPENDED] = LIMIT_STATUS_SUSPENDED,
    };

    return statuses[r];
}

const char *limit_reason_code(enum limit_reason r)
{
    switch (r) {
    case LIMIT_REACHED:
        return "usage_limit_reached";
    case LIMIT_NO_SUBSCRIPTION:
        return "no_subscription";
    case LIMIT_METRIC_UNKNOWN:
        return "metric_unknown";
    case LIMIT_SUSPENDED:
        return "suspended";
    default:
        return "";
    }
}
