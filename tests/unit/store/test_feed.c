/* test_feed.c: what the limit table is filled from, against a real PostgreSQL: a cluster of its own (tests/pg.sh) */
#include "lib/store/feed.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/store/schema.h"

static char conninfo[256];
static struct db *owner;
static struct feed *p;

static int start_server(void)
{
    return !schema_start("feed", &owner, conninfo) || feed_open(conninfo, "test", 5, 30, NULL, &p) != STATUS_OK;
}

static int stop_server(void)
{
    feed_close(p);
    db_close(owner);
    return server_stop();
}

static void make_tenant(const char *id)
{
    char sql[512];

    snprintf(
        sql, sizeof(sql),
        "INSERT INTO public.tenants (id, name) VALUES ('%s', 'T'); INSERT INTO tollgate.tenant_settings (tenant_id, "
        "schema_name) "
        "VALUES ('%s', '%s') ON CONFLICT DO NOTHING",
        id, id, id);
    CU_ASSERT_EQUAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_script(owner, sql), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(owner), STATUS_OK);
}

static enum status count_tenant(void *arg, const struct limit_tenant *t, const struct feed_gauge *gauges, size_t n)
{
    (void)t, (void)gauges, (void)n;
    ++*(int *)arg;
    return STATUS_OK;
}

static enum status count_change(void *arg, const struct feed_change *c)
{
    *(int *)arg += strcmp(c->subject, "second") == 0;
    return STATUS_OK;
}

static void all_reads_of_one_bracket_see_one_snapshot_and_the_cursor_misses_nothing(void)
{
    struct limit_catalogue none, c;
    char cursor[FEED_CURSOR_SIZE], later[FEED_CURSOR_SIZE];
    char left_out[FEED_LEFT_OUT_SIZE];
    bool moved;
    int before = 0, within = 0, changes = 0, since = 0;

    memset(&none, 0, sizeof(none));
    make_tenant("first");
    CU_ASSERT_EQUAL_FATAL(feed_begin(p, cursor), STATUS_OK);
    CU_ASSERT_EQUAL(feed_catalogue(p, &none, &c, &moved, left_out), STATUS_OK);
    CU_ASSERT_EQUAL(feed_tenants(p, &c, NULL, count_tenant, &before), STATUS_OK);
    make_tenant("second");
    CU_ASSERT_EQUAL(feed_tenants(p, &c, NULL, count_tenant, &within), STATUS_OK);
    CU_ASSERT_EQUAL(feed_changes(p, FEED_CONFIG, cursor, count_change, &changes), STATUS_OK);
    CU_ASSERT_EQUAL(feed_end(p), STATUS_OK);
    CU_ASSERT_EQUAL(before, 1);
    CU_ASSERT_EQUAL(within, 1);
    CU_ASSERT_EQUAL(changes, 0);
    CU_ASSERT_EQUAL_FATAL(feed_begin(p, later), STATUS_OK);
    CU_ASSERT_EQUAL(feed_changes(p, FEED_CONFIG, cursor, count_change, &since), STATUS_OK);
    CU_ASSERT_EQUAL(feed_end(p), STATUS_OK);
    CU_ASSERT(since > 0);
}

static void run(const char *sql)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_script(owner, sql), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_commit(owner), STATUS_OK);
}

static enum status copy_tenant(void *arg, const struct limit_tenant *t, const struct feed_gauge *gauges, size_t n)
{
    (void)gauges, (void)n;
    *(struct limit_tenant *)arg = *t;
    return STATUS_OK;
}

static void read_one(const char *id, struct limit_catalogue *c, struct limit_tenant *t)
{
    struct limit_catalogue none;
    char cursor[FEED_CURSOR_SIZE], left_out[FEED_LEFT_OUT_SIZE];
    bool moved;

    memset(&none, 0, sizeof(none));
    CU_ASSERT_EQUAL_FATAL(feed_begin(p, cursor), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(feed_catalogue(p, &none, c, &moved, left_out), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(feed_tenants(p, c, id, copy_tenant, t), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(feed_end(p), STATUS_OK);
}

static const struct limit *limit_of(const struct limit_catalogue *c, const struct limit_tenant *t, const char *key)
{
    for (uint32_t i = 0; i < c->n_limits; i++)
        if (strcmp(c->limits[i].key, key) == 0)
            return &t->limits[i];
    CU_FAIL_FATAL("no such limit");
    return NULL;
}

static void limits_come_typed_and_stop_at_the_largest_integer(void)
{
    struct limit_catalogue c;
    struct limit_tenant t;

    make_tenant("typed");
    run("SELECT tollgate.ensure_periods('typed', now(), now() + interval '65 days');"
        "INSERT INTO public.subscription_tiers VALUES ('typed', 'T', '{\"api_calls_per_day\": 7}');"
        "INSERT INTO public.tenant_subscriptions (tenant_id, tier_id) VALUES ('typed', 'typed');"
        "UPDATE public.tenant_subscriptions SET usage_limits = '{\"api_calls_per_day\": 9007199254740993, "
        "\"storage_gb\": 2.5, \"max_users\": 1e300, \"max_patients\": \"many\", \"other\": 1}' "
        "WHERE tenant_id = 'typed';"
        "INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max, mode, grace_percent, expires_at) "
        "VALUES ('typed', 'api_calls_per_day', 90000000000000, 'grace', 15, '2100-01-01 00:00:00.5+00') "
        "ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = excluded.max, mode = excluded.mode, "
        "grace_percent = excluded.grace_percent, expires_at = excluded.expires_at");
    read_one("typed", &c, &t);
    const struct limit *day = limit_of(&c, &t, "api_calls_per_day");
    CU_ASSERT_EQUAL(day->max, INT64_MAX);
    CU_ASSERT_EQUAL(day->until_us, INT64_C(4102444800500000));
    CU_ASSERT_EQUAL(day->max_after, 7 * EVENT_MILLION);
    CU_ASSERT(day->mode == LIMIT_GRACE && day->grace_percent == 15 && day->grace_until_us == 0);
    CU_ASSERT_EQUAL(day->window, LIMIT_WINDOW_DAY);
    CU_ASSERT_EQUAL(limit_of(&c, &t, "storage_gb")->max, 2500000);
    CU_ASSERT_EQUAL(limit_of(&c, &t, "storage_gb")->until_us, LIMIT_NEVER);
    CU_ASSERT_EQUAL(limit_of(&c, &t, "max_users")->max, INT64_MAX);
    CU_ASSERT_EQUAL(limit_of(&c, &t, "max_patients")->max, LIMIT_UNLIMITED);
    for (int i = 1; i < LIMIT_DAYS; i++)
        CU_ASSERT(t.days[i].start_us == t.days[i - 1].end_us && t.days[i].end_us - t.days[i].start_us > 0);
    CU_ASSERT(t.periods[0].end_us > 0 && t.periods[1].start_us == t.periods[0].end_us);
}

struct seen_counts {
    size_t n;
    int64_t days, periods;
};

static enum status sum_counts(void *arg, const struct feed_count *c)
{
    struct seen_counts *seen = arg;

    seen->n++;
    *(c->window == LIMIT_WINDOW_DAY ? &seen->days : &seen->periods) += c->used;
    return STATUS_OK;
}

static void counts_are_those_of_open_windows_alone(void)
{
    struct seen_counts seen = {0};
    char cursor[FEED_CURSOR_SIZE];

    make_tenant("old");
    run("SELECT tollgate.ensure_periods('old', now() - interval '3 years', now());"
        "INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) "
        "SELECT 'old', 'api_call', 'day', d::date, 5 FROM generate_series(current_date - 1000, current_date, interval "
        "'1 day') d;"
        "INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) "
        "SELECT 'old', 'file_upload', 'period', period_start, 2 FROM tollgate.tenant_periods WHERE tenant_id = 'old'");
    CU_ASSERT_EQUAL_FATAL(feed_begin(p, cursor), STATUS_OK);
    CU_ASSERT_EQUAL(feed_counts(p, "old", sum_counts, &seen), STATUS_OK);
    CU_ASSERT_EQUAL(feed_end(p), STATUS_OK);
    CU_ASSERT(seen.days == 15 * EVENT_MILLION && seen.periods >= 2 * EVENT_MILLION && seen.n <= 6);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"all reads of one bracket see one snapshot, and the cursor misses nothing",
         all_reads_of_one_bracket_see_one_snapshot_and_the_cursor_misses_nothing},
        {"limits come typed, and stop at the largest integer", limits_come_typed_and_stop_at_the_largest_integer},
        {"counts are those of open windows alone", counts_are_those_of_open_windows_alone},
        CU_TEST_INFO_NULL,
    };
    return server_suite("feed", start_server, stop_server, tests);
}
