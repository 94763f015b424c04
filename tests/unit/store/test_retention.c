/* test_retention.c: what is removed and what is kept, against a real PostgreSQL with the collector's rights */
#include "lib/store/retention.h"

#include <string.h>

#include "tests/unit/store/schema.h"

static struct db *owner, *collector;
static const struct retention_keep keep = {
    .row_months = 13, .hourly_months = 2, .rejected_days = 90, .session_absolute_s = 3600};

/* Of each item: rows that are too old and rows that are not, how many there are, and how many are to stay. */
static const struct {
    const char *item, *rows, *count;
    int64_t stay;
} cases[] = {
    {"event ids",
     "INSERT INTO tollgate.usage_event_ids SELECT 'a', 's', g::text, now() - make_interval(days => g) "
     "FROM generate_series(1, 50) g",
     "SELECT count(*) FROM tollgate.usage_event_ids", 35},
    {"leases",
     "INSERT INTO tollgate.limit_leases SELECT 'a', 'api_calls_per_day', now() - make_interval(days => g), 1, 5 "
     "FROM generate_series(30, 49) g",
     "SELECT count(*) FROM tollgate.limit_leases", 10},
    {"sessions",
     "INSERT INTO tollgate.accounts (email, role, password_hash) VALUES ('o@example.org', 'operator', ''); "
     "INSERT INTO tollgate.account_sessions (token_hash, account_id, created_at) SELECT sha256(g::text::bytea), a.id, "
     "now() - make_interval(mins => g * 30) FROM tollgate.accounts a, generate_series(0, 5) g",
     "SELECT count(*) FROM tollgate.account_sessions", 2},
    {"failed sign-ins",
     "INSERT INTO tollgate.signin_failures SELECT sha256(g::text::bytea), 1, now() - make_interval(hours => g * 24 + "
     "1) "
     "FROM generate_series(0, 9) g",
     "SELECT count(*) FROM tollgate.signin_failures", 2},
    {"nodes' samples",
     "INSERT INTO tollgate.collector_nodes (node, token) VALUES ('11111111-2222-3333-4444-555555555555', '\\x'); "
     "INSERT INTO tollgate.node_samples SELECT '11111111-2222-3333-4444-555555555555', now() - make_interval(days => "
     "g, "
     "hours => 1), now(), 1, 0, 0, 0, '{}', now(), 0, 0, 0, 0, 0, 0, 0 FROM generate_series(0, 11) g",
     "SELECT count(*) FROM tollgate.node_samples", 8},
    {"changes of the configuration",
     "DELETE FROM tollgate.config_changes; INSERT INTO tollgate.config_changes (kind, made_at) SELECT 'catalogue', "
     "now() - "
     "make_interval(hours => 20 + g % 2 * 5) FROM generate_series(1, 12000) g",
     "SELECT count(*) FROM tollgate.config_changes", 6000},
    {"hourly aggregates",
     "INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, total, events) SELECT t.id, 'api_call', "
     "date_trunc('hour', now() - interval '30 minutes') - make_interval(hours => g), 1, 1 FROM public.tenants t, "
     "generate_series(0, 4000) g",
     "SELECT (count(*) / 2 - (SELECT extract(epoch FROM date_trunc('hour', now() - interval '30 minutes') - "
     "date_trunc('day', now() - interval '2 months')) / 3600))::int FROM tollgate.usage_hourly",
     1},
    {"counts of past windows",
     "INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) SELECT t.id, "
     "'api_call', "
     "w, current_date - g, 1 FROM public.tenants t, unnest(ARRAY['day', 'period']) w, generate_series(1, 200) g",
     "SELECT count(*) FROM tollgate.usage_counts", 400},
    {"rejected events",
     "INSERT INTO tollgate.usage_rejected (tenant_id, node, segment, position, reason, metric_type, record, "
     "rejected_at) "
     "SELECT 'a', '11111111-2222-3333-4444-555555555555', 1, g, 'metadata', 'api_call', '', now() - make_interval(days "
     "=> "
     "g) FROM generate_series(85, 94) g",
     "SELECT count(*) FROM tollgate.usage_rejected", 5},
    {"rows", "SELECT tollgate.ensure_partitions(now() - interval '20 months', now() + interval '1 month')",
     "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = "
     "'public.usage_tracking'::regclass AND c.relname < 'usage_tracking_' || to_char(now() AT TIME ZONE 'UTC' - "
     "interval '12 months', 'YYYY_MM')",
     1},
};

static void run(const char *sql)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_script(owner, sql), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(owner), STATUS_OK);
}

static int64_t number(const char *sql)
{
    struct db_rows *r;
    int64_t v;

    CU_ASSERT_EQUAL_FATAL(db_run(owner, sql, 0, NULL, &r), STATUS_OK);
    v = db_int(r, 0, 0);
    db_rows_free(r);
    return v;
}

static size_t item_of(const char *name)
{
    size_t i = 0;

    while (i < retention_count() && strcmp(retention_name(i), name) != 0)
        i++;
    CU_ASSERT_FATAL(i < retention_count());
    return i;
}

static int start(void)
{
    static const char fixture[] = "INSERT INTO public.subscription_tiers VALUES ('t', 'T', '{}');"
                                  "INSERT INTO public.tenants (id, name) VALUES ('a', 'A'), ('b', 'B')";
    char conninfo[256];

    if (!schema_start("retention", &owner, conninfo) || db_begin(owner, NULL) != STATUS_OK ||
        db_script(owner, fixture) != STATUS_OK || db_commit(owner) != STATUS_OK) {
        fprintf(stderr, "test_retention: %s\n", owner ? db_error(owner) : "");
        return 1;
    }
    return db_open(conninfo, "test", &collector) != STATUS_OK;
}

static int stop(void)
{
    db_close(collector);
    db_close(owner);
    return server_stop();
}

static void what_is_too_old_goes_and_the_rest_stays(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t item = item_of(cases[i].item);
        bool more = true;

        run(cases[i].rows);
        CU_ASSERT_TRUE(number(cases[i].count) > cases[i].stay);
        while (more)
            CU_ASSERT_EQUAL_FATAL(retention_slice(collector, item, &keep, &more), STATUS_OK);
        if (number(cases[i].count) != cases[i].stay)
            fprintf(stderr, "%s: %ld\n", cases[i].item, (long)number(cases[i].count));
        CU_ASSERT_EQUAL(number(cases[i].count), cases[i].stay);
    }
}

static void a_slice_is_bounded_and_says_that_there_is_more(void)
{
    size_t item = item_of("changes of the configuration");
    bool more = false;

    run("DELETE FROM tollgate.config_changes; INSERT INTO tollgate.config_changes (kind, made_at) SELECT 'catalogue', "
        "now() - "
        "interval '2 days' FROM generate_series(1, 6000)");
    CU_ASSERT_EQUAL(retention_slice(collector, item, &keep, &more), STATUS_OK);
    CU_ASSERT_TRUE(more);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.config_changes"), 1000);
    CU_ASSERT_EQUAL(retention_slice(collector, item, &keep, &more), STATUS_OK);
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.config_changes"), 0);
}

static void what_was_removed_is_said(void)
{
    CU_ASSERT_EQUAL(number("SELECT removed FROM tollgate.removed WHERE what = 'rejected'"), 5);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.removed WHERE what = 'hourly' AND after IS NULL AND before = "
                           "date_trunc('day', now() - interval '2 months')"),
                    1);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.tenants t, tollgate.reconcile(t.id)"), 0);
}

static void nobody_removes_what_is_kept(void)
{
    struct retention_keep none = {0};
    bool more;

    CU_ASSERT_EQUAL(retention_slice(collector, item_of("rows"), &none, &more), STATUS_INVALID);
    CU_ASSERT_EQUAL(retention_slice(collector, item_of("hourly aggregates"), &none, &more), STATUS_INVALID);
    CU_ASSERT_EQUAL(retention_slice(collector, item_of("rejected events"), &none, &more), STATUS_INVALID);
    CU_ASSERT_FALSE(more);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"what is too old goes and the rest stays, with the collector's rights",
         what_is_too_old_goes_and_the_rest_stays},
        {"a slice is bounded and says that there is more", a_slice_is_bounded_and_says_that_there_is_more},
        {"what was removed is said, and reconcile misses nothing of it", what_was_removed_is_said},
        {"nobody removes what is kept", nobody_removes_what_is_kept},
        CU_TEST_INFO_NULL,
    };
    return server_suite("retention", start, stop, tests);
}
