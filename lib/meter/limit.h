/*
 * limit: the decision whether a call or an event may pass. Pure: no clock, no memory, no table.
 *
 * All amounts, counts and limits are millionths of the metric's unit (event.h), so that storage can be
 * fractional; times are microseconds UTC. Called by the limit table (gate, check), by tests and by the
 * dashboards, which show the same verdict that the gate gives.
 *
 * A minute is GCRA: a bucket of the limit's size that refills evenly over 60 s, so no double burst at a
 * boundary (ITU-T I.371, "virtual scheduling"). An hour, a day, a week and a period are fixed windows in the tenant's zone.
 * A gauge has no window.
 *
 * The largest value and the number of distinct values (LIMIT_MAX, LIMIT_UNIQUE) are counted by the collector alone, within about a second;
 * a decision only reads them. Nobody can tell here whether a value is a new one, so a call is refused when the count is beyond the limit,
 * not when it stands at it; a value that is itself beyond a limit of LIMIT_MAX is refused at once. A limit of 0 refuses everything.
 *
 * Where several nodes draw on one limit, its last part may be leased (lease_percent): what lies there passes only with a lease
 * that was granted to this node, so that all of them together stay below the limit (docs/gate.md, "Several nodes").
 */
#ifndef METER_LIMIT_H
#define METER_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/meter/event.h"

#define LIMIT_UNLIMITED INT64_C(-1)
#define LIMIT_NEVER INT64_MAX

enum limit_window {
    LIMIT_WINDOW_NONE, /* a gauge's: its level now */
    LIMIT_WINDOW_MINUTE,
    LIMIT_WINDOW_HOUR, /* counted from the day's first instant; the last one of a day may be shorter */
    LIMIT_WINDOW_DAY,
    LIMIT_WINDOW_WEEK, /* from Monday on */
    LIMIT_WINDOW_PERIOD,
    LIMIT_WINDOWS
};
/* How a metric's events become one number. */
enum limit_aggregation {
    LIMIT_SUM,    /* their values added */
    LIMIT_COUNT,  /* the same, each with the value 1 */
    LIMIT_LEVEL,  /* a gauge's: what is now */
    LIMIT_MAX,    /* the largest in the window */
    LIMIT_UNIQUE, /* how many distinct values of a field of the metadata there were in the window */
};
enum limit_mode {
    LIMIT_HARD,  /* refuses beyond the limit */
    LIMIT_SOFT,  /* admits beyond it and says so */
    LIMIT_GRACE, /* refuses beyond limit + grace_percent, or admits anything until grace_until_us */
};

struct limit {
    int64_t max;      /* LIMIT_UNLIMITED, 0 (nothing), or any number above */
    int64_t until_us; /* from here on max_after counts in place of max; LIMIT_NEVER */
    int64_t max_after;
    int64_t grace_until_us; /* LIMIT_GRACE by date; 0: none */
    int32_t grace_percent;  /* LIMIT_GRACE by percent, 0..1000 */
    uint8_t mode;           /* enum limit_mode */
    uint8_t window;         /* enum limit_window */
    uint8_t lease_percent;  /* of an hour and longer windows: the part of the ceiling that needs a lease, 0..100 */
    uint8_t aggregation;    /* enum limit_aggregation, of its metric */
};

/* What is used of one limit. */
struct limit_count {
    int64_t used;     /* in the window; of a minute: unused, see tat_ns */
    int64_t tat_ns;   /* of a minute: GCRA's theoretical arrival time, nanoseconds UTC; 0: idle */
    int64_t start_us; /* the window's first instant, and the first instant behind it; both 0 of a gauge and a minute */
    int64_t end_us;
    int64_t leased; /* what is left of this node's lease */
};

/* What a tenant's plan allows at all. */
enum limit_state { LIMIT_TENANT_FREE, LIMIT_TENANT_ACTIVE, LIMIT_TENANT_SUSPENDED, LIMIT_TENANT_NO_SUBSCRIPTION };

enum limit_reason {
    LIMIT_ADMITTED = 0,
    LIMIT_REACHED,         /* "usage_limit_reached" */
    LIMIT_NO_SUBSCRIPTION, /* "no_subscription" */
    LIMIT_METRIC_UNKNOWN,  /* "metric_unknown" */
    LIMIT_SUSPENDED,       /* "suspended" */
};

/* The status of the gate's answer to a call that is refused for that. */
#define LIMIT_STATUS_REACHED 429
#define LIMIT_STATUS_NO_SUBSCRIPTION 402
#define LIMIT_STATUS_METRIC_UNKNOWN 403
#define LIMIT_STATUS_SUSPENDED 403

struct limit_verdict {
    bool allowed;
    bool unlimited;
    bool over;              /* admitted beyond the limit (soft, grace) */
    bool leased;            /* lies in the leased part: when allowed, it is taken from the lease */
    uint8_t mode;           /* enum limit_mode, of the limit */
    int64_t grace_until_us; /* nothing is refused before then; 0: no such date is ahead */
    int64_t limit;          /* the plain limit in force, LIMIT_UNLIMITED, millionths */
    int64_t ceiling;        /* what it refuses beyond: limit, with grace; LIMIT_UNLIMITED when nothing is refused */
    int64_t used;           /* before this call */
    int64_t remaining;      /* up to the ceiling, after this call when allowed; never negative */
    int64_t overage;        /* used beyond the plain limit, after this call when allowed; never negative */
    int64_t
        resets_us;  /* when the window turns, or for a minute when a call of this amount passes; 0: never by itself */
    int64_t tat_ns; /* of a minute, when allowed: the value to store */
};

/*
 * May `amount` (0..EVENT_VALUE_MAX) more pass at `now_us`? 0 asks whether anything more would.
 * A refusal never changes what is used.
 */
void limit_decide(const struct limit *l, const struct limit_count *c, int64_t amount, int64_t now_us,
                  struct limit_verdict *out);

/* Lets `amount` more pass; what is unlimited stays so. */
void limit_add(struct limit *l, int64_t amount);

/* What may be used before a lease is needed; LIMIT_UNLIMITED when none ever is. */
int64_t limit_unleased(const struct limit *l, int64_t now_us);

/* Nanoseconds that `amount` took of a minute's bucket, by the verdict that admitted it: what giving back takes off tat_ns. */
int64_t limit_minute_cost(const struct limit_verdict *v, int64_t amount);

/* Is it LIMIT_MAX or LIMIT_UNIQUE: read by decisions, counted by the collector alone? */
bool limit_is_observed(uint8_t aggregation);

/* Percent of the limit that is used, 0 and beyond 100; a limit of 0: 0 when nothing is used, else 100; unlimited: 0. */
double limit_percent(int64_t used, int64_t max);

/* "none", "minute", "hour" and so on, as PostgreSQL and the JSON API name windows. */
const char *limit_window_name(uint8_t window);

/* "soft", "grace"; anything else is LIMIT_HARD. */
enum limit_mode limit_mode_of(const char *text);
/* "active", "suspended", "no_subscription", as the database has them. */
enum limit_state limit_state_of(const char *text);
/* Why a tenant in this state gets nothing, whatever its limits; LIMIT_ADMITTED: they decide. */
enum limit_reason limit_reason_of_state(enum limit_state state);
/* What the gate answers for that reason: 200 for LIMIT_ADMITTED, else one of LIMIT_STATUS_…. */
int limit_reason_status(enum limit_reason r);
/* The `reason` of the JSON API, "usage_limit_reached" and so on (docs/api.md, "Errors"); "" for LIMIT_ADMITTED. */
const char *limit_reason_code(enum limit_reason r);

#endif
