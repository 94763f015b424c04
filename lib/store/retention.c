/* retention.c: removes what is no longer kept, a slice at a time */
#include "lib/store/retention.h"

#define SLICE 5000
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* Says how many rows it removed, which is at most SLICE. */
#define REMOVE(table, too_old)                                                                              \
    "WITH gone AS (DELETE FROM " table " WHERE ctid = ANY (ARRAY(SELECT ctid FROM " table " WHERE " too_old \
    " LIMIT " TEXT(SLICE) ")) RETURNING 1) SELECT count(*) FROM gone"

enum bound { FIXED, ROW_MONTHS, HOURLY_MONTHS, REJECTED_DAYS, SESSION_SECONDS }; /* what $1 of the statement is */

static const struct item {
    const char *name, *sql;
    enum bound bound;
    int full; /* a slice that removed so many has left more */
} items[] = {
    {"rows", "SELECT tollgate.drop_partitions($1::integer)", ROW_MONTHS, 1},
    {"hourly aggregates", "SELECT tollgate.remove_old('hourly', pg_catalog.make_interval(months => $1::integer))",
     HOURLY_MONTHS, 1},
    {"counts of past windows", "SELECT tollgate.remove_old('counts', interval '100 days')", FIXED, 1},
    {"values that were seen",
     REMOVE("tollgate.usage_distinct", "limit_window = 'hour' AND window_start < now() - interval '3 days' OR "
                                       "limit_window = 'day' AND window_start < now() - interval '4 days' OR "
                                       "limit_window = 'week' AND window_start < now() - interval '12 days' OR "
                                       "limit_window = 'period' AND window_start < now() - interval '70 days'"),
     FIXED, SLICE},
    {"refusals", REMOVE("tollgate.usage_refusals", "hour < now() - pg_catalog.make_interval(months => $1::integer)"),
     HOURLY_MONTHS, SLICE},
    {"rejected events", "SELECT tollgate.remove_rejected($1::integer)", REJECTED_DAYS, SLICE},
    {"event ids", REMOVE("tollgate.usage_event_ids", "accepted_at < now() - interval '36 days'"), FIXED, SLICE},
    {"changes of the configuration", REMOVE("tollgate.config_changes", "made_at < now() - interval '1 day'"), FIXED,
     SLICE},
    {"leases", REMOVE("tollgate.limit_leases", "starts_at < now() - interval '40 days'"), FIXED, SLICE},
    {"sessions",
     REMOVE("tollgate.account_sessions", "created_at < now() - pg_catalog.make_interval(secs => $1::bigint)"),
     SESSION_SECONDS, SLICE},
    {"failed sign-ins", REMOVE("tollgate.signin_failures", "failed_at < now() - interval '2 days'"), FIXED, SLICE},
    {"nodes' samples", REMOVE("tollgate.node_samples", "sampled_at < now() - interval '8 days'"), FIXED, SLICE},
};

size_t retention_count(void)
{
    return sizeof(items) / sizeof(items[0]);
}

const char *retention_name(size_t item)
{
    return items[item].name;
}

static int64_t bound_of(enum bound bound, const struct retention_keep *keep)
{
    switch (bound) {
    case ROW_MONTHS:
        return keep->row_months;
    case HOURLY_MONTHS:
        return keep->hourly_months;
    case REJECTED_DAYS:
        return keep->rejected_days;
    case SESSION_SECONDS:
        return keep->session_absolute_s;
    default:
        return 0;
    }
}

enum status retention_slice(struct db *d, size_t item, const struct retention_keep *keep, bool *more)
{
    const struct item *it = &items[item];
    int64_t removed = 0;
    enum status s = db_get_int(db_run, d, it->sql, it->bound != FIXED,
                               (const char *[]){DB_INT(bound_of(it->bound, keep))}, &removed);

    *more = s == STATUS_OK && removed >= it->full;
    return s;
}
