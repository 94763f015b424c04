/* test_ingest.c: batches against a real PostgreSQL with the whole schema: a cluster of its own (tests/pg.sh) */
#include "lib/store/ingest.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/maintenance.h"
#include "lib/store/node.h"
#include "tests/unit/store/schema.h"

#define M EVENT_MILLION

static char conninfo[256];
static struct db *owner;
static struct ingest *in;
static const unsigned char node[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const unsigned char token[16] = {7};
static uint64_t segment = 1000;

static const char fixture[] =
    "INSERT INTO public.subscription_tiers VALUES ('test', 'Test', '{\"api_calls_per_day\": 1000}');"
    "INSERT INTO public.tenants (id, name) VALUES ('a', 'A'), ('b', 'B'), ('gone', 'G');"
    "CREATE SCHEMA a; CREATE TABLE a.patients (id serial PRIMARY KEY, status text NOT NULL DEFAULT 'active');"
    "CREATE TABLE a.appointments (id serial PRIMARY KEY);"
    "INSERT INTO tollgate.tenant_settings (tenant_id, time_zone, anchor_day, schema_name) VALUES "
    "('a', 'America/Sao_Paulo', 31, 'a'), ('b', 'Asia/Kolkata', 1, 'b') ON CONFLICT (tenant_id) DO UPDATE SET "
    "time_zone = excluded.time_zone, anchor_day = excluded.anchor_day;"
    "INSERT INTO public.tenant_subscriptions (tenant_id, tier_id) VALUES ('a', 'test'), ('b', 'test');"
    "SELECT tollgate.attach('a');";

static struct ingest *open_ingest(void)
{
    struct ingest_options o = {
        .conninfo = conninfo, .connect_timeout_s = 5, .statement_timeout_s = 30, .endpoints_max = 3};
    struct ingest *made = NULL;

    memcpy(o.node, node, sizeof(node));
    o.token = token;
    return ingest_open(&o, &made) == STATUS_OK ? made : NULL;
}

/* A start that holds `held`, which is to be in force. */
static enum status take(struct ingest *by, const unsigned char held[16], const unsigned char *pending, const char *host,
                        bool take_over, char where[256])
{
    struct spool_node n;

    unsigned char past[32];
    struct node_start start = {.past = past, .n_past = 2, .next = held, .host = host, .take_over = take_over};
    bool older;

    memcpy(n.uuid, node, sizeof(n.uuid));
    memcpy(n.token, held, sizeof(n.token));
    memcpy(past, pending ? pending : held, 16);
    memcpy(past + 16, held, 16);
    return node_take(ingest_db(by), &n, &start, NULL, &older, where);
}

static int start_server(void)
{
    char where[256];

    if (!schema_start("ingest", &owner, conninfo))
        return 1;
    if (db_begin(owner, NULL) != STATUS_OK || db_script(owner, fixture) != STATUS_OK || db_commit(owner) != STATUS_OK) {
        fprintf(stderr, "test_ingest: %s\n", db_error(owner));
        return 1;
    }
    in = open_ingest();
    return !in || take(in, token, NULL, "test", false, where) != STATUS_OK;
}

static int stop_server(void)
{
    ingest_close(in);
    db_close(owner);
    return server_stop();
}

static int64_t number(const char *sql)
{
    struct db_rows *r;
    int64_t v;

    CU_ASSERT_EQUAL_FATAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_query(owner, sql, 0, NULL, &r), STATUS_OK);
    v = db_count(r) ? db_int(r, 0, 0) : -1;
    db_rows_free(r);
    CU_ASSERT_EQUAL(db_commit(owner), STATUS_OK);
    return v;
}

static void run(const char *sql)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_script(owner, sql), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(owner), STATUS_OK);
}

static struct text t(const char *s)
{
    return (struct text){s, strlen(s)};
}

static struct ingest_event event(const char *tenant, const char *metric, const char *id, int64_t recorded_us)
{
    struct ingest_event e = {.segment = segment, .position = 64, .method = t(""), .endpoint = t(""), .key = t("")};

    e.event = (struct event){.tenant = t(tenant),
                             .metric = t(metric),
                             .source = t("s"),
                             .id = t(id),
                             .metadata = t("{}"),
                             .value = M,
                             .appended_us = clock_wall_us(),
                             .recorded_us = recorded_us ? recorded_us : clock_wall_us()};
    e.uncounted = true;
    return e;
}

/* Stores events as one batch of a new segment. */
static enum status store(const struct ingest_event *events, size_t n, struct ingest_result *r)
{
    struct ingest_span span = {++segment, 0, 64 + 100 * n};
    struct ingest_batch b = {.events = events, .n_events = n, .spans = &span, .n_spans = 1};

    return ingest_store(in, &b, r);
}

static bool books_agree(void)
{
    static const char sql[] =
        "SELECT string_agg(d::text, ' ') FROM (SELECT x.id, r.* FROM public.tenants x, tollgate.reconcile(x.id) "
        "r LIMIT 5) d";
    struct db_rows *r;
    bool agree;

    CU_ASSERT_EQUAL_FATAL(db_run(owner, sql, 0, NULL, &r), STATUS_OK);
    if (!(agree = db_null(r, 0, 0)))
        fprintf(stderr, "%s\n", db_text(r, 0, 0));
    db_rows_free(r);
    return agree && number("SELECT count(*) FROM public.tenants x, tollgate.reconcile_gauges(x.id)") == 0;
}

static void a_batch_is_rows_rollups_counts_summary_and_position_together(void)
{
    struct ingest_event e[] = {event("a", "api_call", "", 0), event("a", "api_call", "", 0),
                               event("a", "file_upload", "", 0)};
    struct ingest_result r;

    e[0].method = e[1].method = t("GET");
    e[0].endpoint = e[1].endpoint = t("/x");
    e[0].event.metadata = e[1].event.metadata = t("{\"method\":\"GET\",\"normalized\":\"/x\"}");
    CU_ASSERT_EQUAL_FATAL(store(e, 3, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.stored, 3);
    CU_ASSERT_EQUAL_FATAL(r.n_totals, 2);
    CU_ASSERT_EQUAL(r.totals[0].used, strcmp(r.totals[0].metric, "api_call") == 0 ? 2 * M : M);
    CU_ASSERT_EQUAL(r.totals[0].added, r.totals[0].uncounted);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.usage_tracking WHERE tenant_id = 'a'"), 3);
    CU_ASSERT_EQUAL(
        number("SELECT api_calls_count * 10 + file_uploads_count FROM public.usage_summary WHERE tenant_id = 'a' "
               "ORDER BY period_start DESC"),
        21);
    CU_ASSERT_EQUAL(
        number("SELECT current_usage ->> 'api_calls_today' FROM public.tenant_subscriptions WHERE tenant_id = 'a'"), 2);
    CU_ASSERT_EQUAL(number("SELECT events FROM tollgate.usage_daily WHERE tenant_id = 'a' AND endpoint = '/x'"), 2);
    CU_ASSERT_EQUAL(number("SELECT max(position) FROM tollgate.collector_progress"), 364);
    CU_ASSERT_TRUE(books_agree());
}

static void a_batch_is_stored_once_however_often_it_is_sent(void)
{
    struct ingest_event e = event("b", "api_call", "", 0);
    struct ingest_span span = {++segment, 0, 164};
    struct ingest_batch b = {.events = &e, .n_events = 1, .spans = &span, .n_spans = 1};
    struct ingest_position p = {segment, 0};
    struct ingest_result r;
    int64_t before = number("SELECT count(*) FROM public.usage_tracking");

    CU_ASSERT_EQUAL(ingest_store(in, &b, &r), STATUS_OK);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(ingest_store(in, &b, &r), STATUS_CONFLICT);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.usage_tracking"), before + 1);
    CU_ASSERT_EQUAL(ingest_progress(in, &p, 1), STATUS_OK);
    CU_ASSERT_EQUAL(p.position, 164);
}

static void an_id_counts_once_in_a_batch_and_across_batches(void)
{
    struct ingest_event e[] = {event("a", "file_upload", "x", 0), event("a", "file_upload", "x", 0),
                               event("a", "file_upload", "y", 0), event("b", "file_upload", "x", 0)};
    struct ingest_result r;

    CU_ASSERT_EQUAL_FATAL(store(e, 4, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.stored, 3);
    CU_ASSERT_EQUAL(r.duplicates, 1);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL_FATAL(store(e, 4, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.stored, 0);
    CU_ASSERT_EQUAL(r.duplicates, 4);
    ingest_result_free(&r);
    CU_ASSERT_TRUE(books_agree());
}

static void what_cannot_be_stored_is_set_aside_with_its_bytes_and_the_rest_goes_on(void)
{
    struct ingest_event e[] = {event("nobody", "api_call", "", 0), event("a", "nothing", "", 0),
                               event("a", "api_call", "", 0), event("a", "api_call", "old", 0),
                               event("a", "api_call", "", 0)};
    struct ingest_result r;
    int64_t before = number("SELECT count(*) FROM public.usage_tracking");

    e[3].event.appended_us -= INT64_C(36) * 86400 * CLOCK_US_PER_SECOND;
    e[4].reject = "metadata";
    CU_ASSERT_EQUAL_FATAL(store(e, 5, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.stored, 1);
    CU_ASSERT_EQUAL(r.rejected, 4);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.usage_tracking"), before + 1);
    for (size_t i = 0; i < 4; i++) {
        static const char *const reasons[] = {"tenant_unknown", "metric_unknown", "id_expired", "metadata"};
        char sql[160];

        snprintf(sql, sizeof(sql),
                 "SELECT count(*) FROM tollgate.usage_rejected WHERE reason = '%s' AND length(record) >= 64",
                 reasons[i]);
        CU_ASSERT_EQUAL(number(sql), 1);
    }
}

static void a_late_event_goes_to_the_period_of_its_time_and_gets_a_partition(void)
{
    int64_t at = clock_wall_us() - INT64_C(200) * 86400 * CLOCK_US_PER_SECOND;
    struct ingest_event e = event("b", "api_call", "", at);
    struct ingest_result r;

    CU_ASSERT_EQUAL_FATAL(store(&e, 1, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.stored, 1);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(
        number(
            "SELECT count(*) FROM public.usage_tracking u JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id "
            "AND p.billing_period = u.billing_period JOIN public.usage_summary s ON s.tenant_id = p.tenant_id AND "
            "s.period_start = p.period_start WHERE u.tenant_id = 'b' AND u.recorded_at >= p.starts_at AND "
            "u.recorded_at < p.ends_at AND u.recorded_at < now() - interval '199 days' AND s.api_calls_count = 1"),
        1);
    CU_ASSERT_TRUE(books_agree());
}

static void a_late_event_finds_the_count_of_a_window_whose_row_was_removed(void)
{
    struct ingest_event e = event("b", "api_call", "", clock_wall_us() - INT64_C(130) * 86400 * CLOCK_US_PER_SECOND);
    struct ingest_result r;

    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(store(&e, 1, &r), STATUS_OK);
        ingest_result_free(&r);
    }
    run("DELETE FROM tollgate.usage_counts WHERE tenant_id = 'b' AND window_start BETWEEN current_date - 165 AND "
        "current_date - 100");
    CU_ASSERT_EQUAL_FATAL(store(&e, 1, &r), STATUS_OK);
    CU_ASSERT_EQUAL(r.totals[0].used, 3 * M);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(number("SELECT api_calls_count FROM public.usage_summary WHERE tenant_id = 'b' AND period_start <= "
                           "current_date - 130 ORDER BY period_start DESC LIMIT 1"),
                    3);
    CU_ASSERT_TRUE(books_agree());
}

static void endpoints_beyond_the_cap_are_counted_as_one(void)
{
    struct ingest_event e[8];
    char names[8][16], metadata[8][64];
    struct ingest_result r;

    for (size_t i = 0; i < 8; i++) {
        snprintf(names[i], sizeof(names[i]), "/many/%zu", i);
        snprintf(metadata[i], sizeof(metadata[i]), "{\"method\":\"GET\",\"normalized\":\"%s\"}", names[i]);
        e[i] = event("b", "api_call", "", 0);
        e[i].method = t("GET");
        e[i].endpoint = t(names[i]);
        e[i].event.metadata = t(metadata[i]);
    }
    CU_ASSERT_EQUAL_FATAL(store(e, 8, &r), STATUS_OK);
    ingest_result_free(&r);
    CU_ASSERT_TRUE(
        number("SELECT count(*) FROM tollgate.usage_daily WHERE tenant_id = 'b' AND endpoint LIKE '/many/%'") <= 3);
    CU_ASSERT_TRUE(number("SELECT total FROM tollgate.usage_daily WHERE tenant_id = 'b' AND endpoint = '(other)'") >=
                   5);
    CU_ASSERT_TRUE(books_agree());
}

static void collect_changes(void)
{
    struct ingest_result r;

    CU_ASSERT_EQUAL_FATAL(ingest_changes(in, 1000, &r), STATUS_OK);
    ingest_result_free(&r);
}

static void changes_of_the_hosts_tables_are_gauges_and_events(void)
{
    run("INSERT INTO a.patients SELECT generate_series(1, 5); UPDATE a.patients SET status = 'left' WHERE id = 1; "
        "INSERT INTO a.appointments SELECT generate_series(1, 3); DELETE FROM a.appointments WHERE id = 1; "
        "INSERT INTO public.users (tenant_id, email) VALUES ('a', 'x@example.org'); SELECT tollgate.put_storage('a', "
        "3000000)");
    CU_ASSERT_TRUE(books_agree()); /* what waits is known to be on its way */
    collect_changes();
    CU_ASSERT_EQUAL(
        number("SELECT patients_count * 100 + appointments_count * 10 + users_count FROM public.usage_summary "
               "WHERE tenant_id = 'a' ORDER BY period_start DESC"),
        421);
    CU_ASSERT_EQUAL(
        number("SELECT storage_bytes FROM public.usage_summary WHERE tenant_id = 'a' ORDER BY period_start DESC"),
        3000000);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.usage_tracking WHERE metric_type = 'appointment_created'"), 3);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.usage_changes"), 0);
    CU_ASSERT_TRUE(books_agree());
    run("TRUNCATE a.patients");
    collect_changes();
    CU_ASSERT_EQUAL(
        number("SELECT patients_count FROM public.usage_summary WHERE tenant_id = 'a' ORDER BY period_start DESC"), 0);
    CU_ASSERT_TRUE(books_agree());
}

/* The tenant's patients as the summary has them, and how many of its shares a collector has still to look at. */
static bool patients_are(int64_t count, int64_t changed)
{
    return number("SELECT patients_count FROM public.usage_summary WHERE tenant_id = 'a' ORDER BY period_start DESC") ==
               count &&
           number("SELECT count(*) FROM tollgate.enforce_shares WHERE changed") == changed;
}

static void an_enforced_gauge_is_counted_by_its_shares(void)
{
    char as_owner[256];
    struct db *host = NULL;

    snprintf(as_owner, sizeof(as_owner), "host=%s user=tollgate_owner dbname=tg", server_dir);
    run("INSERT INTO a.patients SELECT generate_series(20, 22); SELECT tollgate.enforce('a', true)");
    collect_changes();
    CU_ASSERT_TRUE(patients_are(3, 0)); /* what waited in usage_changes is in the count that the shares began with */
    run("INSERT INTO a.patients VALUES (23); INSERT INTO public.users (tenant_id, email) VALUES ('a', "
        "'y@example.org')");
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.usage_changes"), 0);
    CU_ASSERT_TRUE(patients_are(3, 2));
    CU_ASSERT_TRUE(books_agree());
    collect_changes();
    CU_ASSERT_TRUE(patients_are(4, 0));
    CU_ASSERT_EQUAL(
        number("SELECT users_count FROM public.usage_summary WHERE tenant_id = 'a' ORDER BY period_start DESC"), 2);
    CU_ASSERT_TRUE(
        number("SELECT count(*) FROM public.usage_tracking WHERE tenant_id = 'a' AND metric_type = 'patients_count' "
               "AND metric_value = 4") > 0);
    CU_ASSERT_TRUE(books_agree());

    /* A transaction that is at a share is not waited for, and what it wrote is not forgotten. */
    CU_ASSERT_EQUAL_FATAL(db_open(as_owner, "host", &host), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_begin(host, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_script(host, "INSERT INTO a.patients VALUES (24)"), STATUS_OK);
    run("INSERT INTO a.patients VALUES (25), (26)");
    collect_changes();
    CU_ASSERT_TRUE(patients_are(6, 0));
    CU_ASSERT_EQUAL(db_commit(host), STATUS_OK);
    db_close(host);
    CU_ASSERT_TRUE(patients_are(6, 1));
    collect_changes();
    CU_ASSERT_TRUE(patients_are(7, 0));

    run("TRUNCATE a.patients; INSERT INTO a.patients VALUES (27)");
    collect_changes();
    CU_ASSERT_TRUE(patients_are(1, 0));
    CU_ASSERT_TRUE(books_agree());
    run("INSERT INTO a.patients VALUES (28); SELECT tollgate.enforce('a', false); INSERT INTO a.patients VALUES (29)");
    collect_changes();
    CU_ASSERT_TRUE(patients_are(3, 0)); /* off: what no collector had looked at is counted */
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.enforce_shares"), 0);
    CU_ASSERT_TRUE(books_agree());
}

static void shares_that_lie_are_found_and_repaired(void)
{
    run("SELECT tollgate.enforce('a', true); ALTER TABLE a.patients DISABLE TRIGGER tollgate_1_insert; "
        "INSERT INTO a.patients VALUES (30); ALTER TABLE a.patients ENABLE TRIGGER tollgate_1_insert");
    collect_changes();
    CU_ASSERT_EQUAL(number("SELECT stored * 100 + counted FROM tollgate.reconcile_gauges('a')"), 304);
    CU_ASSERT_EQUAL(number("SELECT tollgate.repair('a')"), 1);
    CU_ASSERT_TRUE(books_agree());
    CU_ASSERT_EQUAL(number("SELECT used FROM tollgate.enforced_levels('a') WHERE metric = 'patients_count'"), 4);
    run("SELECT tollgate.enforce('a', false)");
    collect_changes();
}

static void a_refresh_asks_for_a_measurement(void)
{
    struct ingest_result r;

    run("SELECT tollgate.request_measure('a')");
    CU_ASSERT_EQUAL_FATAL(ingest_changes(in, 1000, &r), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(r.n_measure, 1);
    CU_ASSERT_STRING_EQUAL(r.measure[0], "a");
    ingest_result_free(&r);
}

static void degraded_counts_are_recorded_once(void)
{
    struct ingest_degraded d = {"a", "api_call", 5 * M};
    struct ingest_result r;
    int64_t before = number("SELECT used FROM tollgate.usage_counts WHERE tenant_id = 'a' AND metric_type = 'api_call' "
                            "AND limit_window = 'day'");

    const uint64_t tables[] = {7, 7, UINT64_MAX, UINT64_MAX}; /* another one counts from 0 */

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        CU_ASSERT_EQUAL_FATAL(ingest_degraded(in, tables[i], &d, 1, &r), STATUS_OK);
        ingest_result_free(&r);
    }
    CU_ASSERT_EQUAL(
        number(
            "SELECT count(*) FROM public.usage_tracking WHERE metadata ->> 'degraded' = 'true' AND metric_value = 5"),
        2);
    CU_ASSERT_EQUAL(
        number("SELECT used FROM tollgate.usage_counts WHERE tenant_id = 'a' AND metric_type = 'api_call' AND "
               "limit_window = 'day'"),
        before + 10);
    CU_ASSERT_TRUE(books_agree());
}

static void days_turn_by_pages(void)
{
    char after[256] = "";
    int pages = 0;

    run("INSERT INTO public.tenants (id, name) SELECT 'turn' || i, 'Turn' FROM generate_series(1, 450) i");
    run("SELECT tollgate.set_subscription(id, 'test', NULL) FROM public.tenants WHERE id LIKE 'turn%'");
    run("UPDATE public.tenant_subscriptions SET current_usage = current_usage || '{\"api_calls_today\": 7}' WHERE "
        "tenant_id "
        "LIKE 'turn%'");
    run("DELETE FROM public.usage_summary WHERE tenant_id LIKE 'turn%'");
    do {
        CU_ASSERT_EQUAL_FATAL(maintenance_rollover(ingest_db(in), after), STATUS_OK);
    } while (++pages < 10 && after[0]);
    CU_ASSERT(pages > 2 && pages < 10);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.tenant_subscriptions WHERE tenant_id LIKE 'turn%' "
                           "AND current_usage -> 'api_calls_today' = '0'"),
                    450);
    CU_ASSERT_EQUAL(number("SELECT count(DISTINCT tenant_id) FROM public.usage_summary WHERE tenant_id LIKE 'turn%'"),
                    450);
    run("DELETE FROM public.tenants WHERE id LIKE 'turn%'");
}

static void what_is_settled_is_refused_and_its_rows_go(void)
{
    struct ingest_event e = event("b", "api_call", "", 0);
    struct ingest_span span = {++segment, 0, 164};
    struct ingest_batch b = {.events = &e, .n_events = 1, .spans = &span, .n_spans = 1};
    const uint64_t settled[] = {segment}, below = segment + 100, open[] = {segment + 50};
    struct ingest_position p[] = {{segment, 0}, {segment + 50, 0}, {segment + 60, 0}, {segment + 100, 0}};
    struct ingest_result r;

    CU_ASSERT_EQUAL(ingest_store(in, &b, &r), STATUS_OK);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(ingest_settle(in, below, settled, 1, open, 1), STATUS_OK);
    CU_ASSERT_EQUAL(ingest_progress(in, p, 4), STATUS_OK);
    CU_ASSERT_EQUAL(p[0].position, INGEST_SETTLED);
    CU_ASSERT_EQUAL(p[1].position, 0); /* open: it is read */
    CU_ASSERT_EQUAL(p[2].position, INGEST_SETTLED);
    CU_ASSERT_EQUAL(p[3].position, 0); /* above */
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM tollgate.collector_progress p, tollgate.collector_nodes n "
                           "WHERE p.node = n.node AND p.segment = n.settled_below - 100"),
                    0);
    span = (struct ingest_span){segment + 60, 0, 164};
    CU_ASSERT_EQUAL(ingest_store(in, &b, &r), STATUS_CONFLICT); /* never read anew */
    ingest_result_free(&r);
    span = (struct ingest_span){segment + 50, 0, 164};
    CU_ASSERT_EQUAL(ingest_store(in, &b, &r), STATUS_OK);
    ingest_result_free(&r);
    /* An open segment that the database counts as settled stays so, whatever is said of it later. */
    CU_ASSERT_EQUAL(ingest_settle(in, below, NULL, 0, &p[2].segment, 1), STATUS_OK);
    CU_ASSERT_EQUAL(ingest_progress(in, &p[2], 1), STATUS_OK);
    CU_ASSERT_EQUAL(p[2].position, INGEST_SETTLED);
    segment += 200;
}

static void a_copied_image_is_noticed(void)
{
    static const unsigned char other[16] = {9};
    struct ingest_event e = event("a", "api_call", "", 0);
    struct ingest *copy = open_ingest();
    struct ingest_result r;
    char where[256];

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    CU_ASSERT_EQUAL(take(copy, other, NULL, "copy", false, where), STATUS_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(where, "test"));
    CU_ASSERT_EQUAL(take(copy, other, token, "copy", false, where), STATUS_OK);
    CU_ASSERT_EQUAL(store(&e, 1, &r), STATUS_FENCED); /* the first one is fenced off */
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(take(copy, token, NULL, "test", true, where), STATUS_OK);
    ingest_close(copy);
}

static void repair_makes_the_books_say_what_the_rows_say(void)
{
    run("UPDATE tollgate.usage_daily SET total = total + 1; DELETE FROM tollgate.usage_hourly; UPDATE "
        "tollgate.usage_counts "
        "SET used = 0; "
        "UPDATE public.usage_summary SET api_calls_count = 99, users_count = 7");
    CU_ASSERT_FALSE(books_agree());
    run("SELECT tollgate.repair(id) FROM public.tenants");
    CU_ASSERT_TRUE(books_agree());
}

static void a_lost_connection_stores_nothing_and_the_next_try_does(void)
{
    struct ingest_event e = event("a", "api_call", "", 0);
    struct ingest_result r;
    int64_t before = number("SELECT count(*) FROM public.usage_tracking");
    char command[256];

    snprintf(command, sizeof(command), "tests/pg.sh stop %s immediate && sleep 0.1", server_dir);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    CU_ASSERT_EQUAL(store(&e, 1, &r), STATUS_UNAVAILABLE);
    CU_ASSERT_FALSE(r.unsure);
    ingest_result_free(&r);
    snprintf(command, sizeof(command), "tests/pg.sh start %s >/dev/null", server_dir);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    CU_ASSERT_EQUAL(store(&e, 1, &r), STATUS_OK);
    ingest_result_free(&r);
    CU_ASSERT_EQUAL(number("SELECT count(*) FROM public.usage_tracking"), before + 1);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"a batch is rows, rollups, counts, summary and position together",
         a_batch_is_rows_rollups_counts_summary_and_position_together},
        {"a batch is stored once, however often it is sent", a_batch_is_stored_once_however_often_it_is_sent},
        {"an id counts once in a batch and across batches", an_id_counts_once_in_a_batch_and_across_batches},
        {"what cannot be stored is set aside with its bytes, and the rest goes on",
         what_cannot_be_stored_is_set_aside_with_its_bytes_and_the_rest_goes_on},
        {"a late event goes to the period of its time and gets a partition",
         a_late_event_goes_to_the_period_of_its_time_and_gets_a_partition},
        {"a late event finds the count of a window whose row was removed",
         a_late_event_finds_the_count_of_a_window_whose_row_was_removed},
        {"endpoints beyond the cap are counted as one", endpoints_beyond_the_cap_are_counted_as_one},
        {"changes of the host's tables are gauges and events", changes_of_the_hosts_tables_are_gauges_and_events},
        {"an enforced gauge is counted by its shares", an_enforced_gauge_is_counted_by_its_shares},
        {"shares that lie are found and repaired", shares_that_lie_are_found_and_repaired},
        {"a refresh asks for a measurement", a_refresh_asks_for_a_measurement},
        {"degraded counts are recorded once", degraded_counts_are_recorded_once},
        {"days turn by pages, all tenants", days_turn_by_pages},
        {"what is settled is refused, and its rows go", what_is_settled_is_refused_and_its_rows_go},
        {"a copied image is noticed", a_copied_image_is_noticed},
        {"repair makes the books say what the rows say", repair_makes_the_books_say_what_the_rows_say},
        {"a lost connection stores nothing, and the next try does",
         a_lost_connection_stores_nothing_and_the_next_try_does},
        CU_TEST_INFO_NULL,
    };
    return server_suite("ingest", start_server, stop_server, tests);
}
