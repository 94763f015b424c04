/* test_db.c: db against a real PostgreSQL: $TOLLGATE_TEST_PG, else a cluster of its own (tests/pg.sh) */
#include "lib/store/db.h"

#include <string.h>

#include "tests/unit/store/server.h"

static char conninfo[256];
static struct db *d;

static int start_server(void)
{
    const char *given = getenv("TOLLGATE_TEST_PG");

    if (!given && !server_start("db"))
        return 1;
    if (given)
        snprintf(conninfo, sizeof(conninfo), "%s", given);
    else
        snprintf(conninfo, sizeof(conninfo), "host=%s user=postgres dbname=postgres", server_dir);
    return db_open(conninfo, "test_db", &d) != STATUS_OK;
}

static int stop_server(void)
{
    db_close(d);
    return server_stop();
}

static void kill_backend(void)
{
    struct db *other;

    CU_ASSERT_EQUAL_FATAL(db_open(conninfo, "killer", &other), STATUS_OK);
    CU_ASSERT_EQUAL(db_begin(other, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(
        db_query(other,
                 "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test_db'", 0,
                 NULL, NULL),
        STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(other), STATUS_OK);
    db_close(other);
}

static void a_query_returns_text_numbers_and_nulls(void)
{
    const char *params[] = {"x'y", NULL, "42"};
    struct db_rows *r;

    CU_ASSERT_EQUAL_FATAL(db_begin(d, "t1"), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(
        db_query(d, "SELECT $1::text, $2::text, $3::bigint, true, 1.5, current_setting('tollgate.tenant_id')", 3,
                 params, &r),
        STATUS_OK);
    CU_ASSERT_EQUAL(db_count(r), 1);
    CU_ASSERT_STRING_EQUAL(db_text(r, 0, 0), "x'y");
    CU_ASSERT_TRUE(db_null(r, 0, 1));
    CU_ASSERT_STRING_EQUAL(db_text(r, 0, 1), "");
    CU_ASSERT_EQUAL(db_int(r, 0, 2), 42);
    CU_ASSERT_TRUE(db_bool(r, 0, 3));
    CU_ASSERT_DOUBLE_EQUAL(db_double(r, 0, 4), 1.5, 1e-9);
    CU_ASSERT_STRING_EQUAL(db_text(r, 0, 5), "t1");
    db_rows_free(r);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_OK);
}

/* Numbers go as parameters, and a statement's only value comes back, however it is asked. */
static void the_only_value_of_a_statement_is_taken(void)
{
    int64_t n = 7;
    bool yes = false;
    char text[4] = "old";

    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(
        db_get_int(db_query, d, "SELECT $1::bigint + $2::bigint", DB_WITH(DB_INT(INT64_MIN), DB_INT(1)), &n),
        STATUS_OK);
    CU_ASSERT_EQUAL(n, INT64_MIN + 1);
    CU_ASSERT_EQUAL(db_get_text(db_query, d, "SELECT $1 || 'bcde'", DB_WITH("a"), text, sizeof(text)), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(text, "abc");
    CU_ASSERT_EQUAL(db_get_text(db_query, d, "SELECT NULL", DB_NOTHING, text, sizeof(text)), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(db_get_int(db_query, d, "SELECT 1 WHERE false", DB_NOTHING, &n), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(n, INT64_MIN + 1);
    db_rollback(d);
    CU_ASSERT_EQUAL(db_get_bool(db_look, d, "SELECT true", DB_NOTHING, &yes), STATUS_OK);
    CU_ASSERT_TRUE(yes);
    CU_ASSERT_EQUAL(db_get_int(db_run, d, "SELECT 3", DB_NOTHING, &n), STATUS_OK);
    CU_ASSERT_EQUAL(db_get_int(db_peek, d, "SELECT word", DB_NOTHING, &n), STATUS_FAILED);
    CU_ASSERT_EQUAL(n, 3);
}

static void the_tenant_ends_with_its_transaction(void)
{
    struct db_rows *r;

    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_query(d, "SELECT current_setting('tollgate.tenant_id')", 0, NULL, &r), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(db_text(r, 0, 0), "");
    db_rows_free(r);
    db_rollback(d);
}

static void an_operator_of_public_is_not_taken(void)
{
    struct db_rows *r;

    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(
        db_script(d, "CREATE FUNCTION public.never(varchar, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'; "
                     "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.never)"),
        STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_query(d, "SELECT 'a'::varchar = 'a'::text", 0, NULL, &r), STATUS_OK);
    CU_ASSERT_TRUE(db_bool(r, 0, 0));
    db_rows_free(r);
    db_rollback(d);
}

static void refused_values_and_conflicts_have_their_status(void)
{
    const char *word[] = {"word"};

    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_query(d, "SELECT $1::bigint", 1, word, NULL), STATUS_INVALID);
    CU_ASSERT_STRING_EQUAL(db_sqlstate(d), "22P02");
    CU_ASSERT_EQUAL(db_query(d, "SELECT 1", 0, NULL, NULL), STATUS_CONFLICT);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_CONFLICT);
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(
        db_script(d, "CREATE TEMP TABLE once (k int PRIMARY KEY) ON COMMIT DROP; INSERT INTO once VALUES (1)"),
        STATUS_OK);
    CU_ASSERT_EQUAL(db_query(d, "INSERT INTO once VALUES (1)", 0, NULL, NULL), STATUS_CONFLICT);
    db_rollback(d);
}

/* What PostgreSQL says, by SQLSTATE, is told apart: each has another remedy. */
static void each_failure_of_a_statement_has_its_status(void)
{
    static const struct {
        const char *sqlstate;
        enum status status;
    } cases[] = {
        {"22003", STATUS_INVALID},     {"23514", STATUS_INVALID},     {"TG003", STATUS_INVALID},
        {"23505", STATUS_CONFLICT},    {"40P01", STATUS_CONFLICT},    {"42501", STATUS_DENIED},
        {"57014", STATUS_TIMEOUT},     {"TG011", STATUS_FENCED},      {"53100", STATUS_UNAVAILABLE},
        {"57P03", STATUS_UNAVAILABLE}, {"25006", STATUS_UNAVAILABLE}, {"P0001", STATUS_FAILED},
        {"0A000", STATUS_FAILED},      {"42P01", STATUS_FAILED},      {"XX000", STATUS_FAILED},
    };
    char sql[128];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
        snprintf(sql, sizeof sql, "DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '%s'; END$$", cases[i].sqlstate);
        CU_ASSERT_EQUAL(db_script(d, sql), cases[i].status);
        db_rollback(d);
    }
}

static void an_own_error_carries_its_detail(void)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_script(d, "DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'TG001', DETAIL = 'max_dogs'; END$$"),
                    STATUS_INVALID);
    CU_ASSERT_STRING_EQUAL(db_sqlstate(d), "TG001");
    CU_ASSERT_STRING_EQUAL(db_error(d), "no");
    CU_ASSERT_STRING_EQUAL(db_detail(d), "max_dogs");
    db_rollback(d);
}

static void a_slow_statement_is_cut_off(void)
{
    db_timeouts(d, 5, 1);
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_query(d, "SELECT pg_sleep(20)", 0, NULL, NULL), STATUS_TIMEOUT);
    CU_ASSERT_STRING_EQUAL(db_sqlstate(d), "57014");
    db_rollback(d);
    db_timeouts(d, 5, 30);
}

static void copy_brings_rows_and_reports_a_bad_one(void)
{
    struct db_rows *r;

    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_script(d, "CREATE TEMP TABLE batch (a int, b text)"), STATUS_OK);
    CU_ASSERT_EQUAL(db_copy(d, "COPY batch FROM STDIN", "1\tx\n2\t\\N\n", 9), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_query(d, "SELECT count(*), count(b) FROM batch", 0, NULL, &r), STATUS_OK);
    CU_ASSERT_EQUAL(db_int(r, 0, 0), 2);
    CU_ASSERT_EQUAL(db_int(r, 0, 1), 1);
    db_rows_free(r);
    CU_ASSERT_EQUAL(db_copy(d, "COPY batch FROM STDIN", "word\tx\n", 7), STATUS_INVALID);
    db_rollback(d);
}

static void a_connection_that_died_idle_is_renewed_at_begin(void)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_OK);
    kill_backend();
    CU_ASSERT_EQUAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_OK);
}

static void a_connection_that_died_idle_is_renewed_at_a_look(void)
{
    struct db_rows *r = NULL;

    CU_ASSERT_EQUAL_FATAL(db_look(d, "SELECT 41", 0, NULL, NULL), STATUS_OK);
    kill_backend();
    CU_ASSERT_EQUAL_FATAL(db_look(d, "SELECT 42", 0, NULL, &r), STATUS_OK);
    CU_ASSERT_EQUAL(db_int(r, 0, 0), 42);
    db_rows_free(r);
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_look(d, "SELECT pg_current_xact_id_if_assigned() IS NULL", 0, NULL, &r), STATUS_OK);
    CU_ASSERT_TRUE(db_bool(r, 0, 0)); /* never within a transaction that was left open */
    db_rows_free(r);
}

static void a_connection_lost_in_a_transaction_is_unavailable_then_renewed(void)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    kill_backend();
    CU_ASSERT_EQUAL(db_query(d, "SELECT 1", 0, NULL, NULL), STATUS_UNAVAILABLE);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_UNAVAILABLE);
    CU_ASSERT_EQUAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_OK);
}

static void a_connection_lost_at_commit_is_unavailable(void)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(d, NULL), STATUS_OK);
    kill_backend();
    CU_ASSERT_EQUAL(db_commit(d), STATUS_UNAVAILABLE);
}

static void a_server_that_is_away_is_unavailable(void)
{
    struct db *away;

    CU_ASSERT_EQUAL_FATAL(db_open("host=/nonexistent dbname=x", "test", &away), STATUS_OK);
    CU_ASSERT_EQUAL(db_begin(away, NULL), STATUS_UNAVAILABLE);
    CU_ASSERT_TRUE(strlen(db_error(away)) > 0);
    db_close(away);
}

static int64_t count_seen(void)
{
    struct db_rows *r;
    int64_t n = -1;

    if (db_query(d, "SELECT count(*) FROM public.seen", 0, NULL, &r) == STATUS_OK) {
        n = db_int(r, 0, 0);
        db_rows_free(r);
    }
    return n;
}

static void a_snapshot_shows_nothing_that_was_committed_since_and_writes_nothing(void)
{
    struct db *other;

    CU_ASSERT_EQUAL_FATAL(db_open(conninfo, "other", &other), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_begin(other, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_script(other, "CREATE TABLE public.seen (n int); INSERT INTO public.seen VALUES (1)"),
                    STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(other), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_begin_snapshot(d, false), STATUS_OK);
    CU_ASSERT_EQUAL(db_begin(other, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(db_script(other, "INSERT INTO public.seen VALUES (2)"), STATUS_OK);
    CU_ASSERT_EQUAL(db_commit(other), STATUS_OK);
    CU_ASSERT_EQUAL(count_seen(), 1);
    CU_ASSERT_NOT_EQUAL(db_script(d, "INSERT INTO public.seen VALUES (3)"), STATUS_OK);
    db_rollback(d);
    CU_ASSERT_EQUAL(db_begin(d, NULL), STATUS_OK);
    CU_ASSERT_EQUAL(count_seen(), 2);
    CU_ASSERT_EQUAL(db_commit(d), STATUS_OK);
    db_close(other);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"a query returns text, numbers and nulls", a_query_returns_text_numbers_and_nulls},
        {"the only value of a statement is taken", the_only_value_of_a_statement_is_taken},
        {"the tenant ends with its transaction", the_tenant_ends_with_its_transaction},
        {"an operator of public is not taken", an_operator_of_public_is_not_taken},
        {"refused values and conflicts have their status", refused_values_and_conflicts_have_their_status},
        {"each failure of a statement has its status", each_failure_of_a_statement_has_its_status},
        {"an own error carries its detail", an_own_error_carries_its_detail},
        {"a slow statement is cut off", a_slow_statement_is_cut_off},
        {"COPY brings rows and reports a bad one", copy_brings_rows_and_reports_a_bad_one},
        {"a connection that died idle is renewed at begin", a_connection_that_died_idle_is_renewed_at_begin},
        {"a connection that died idle is renewed at a look", a_connection_that_died_idle_is_renewed_at_a_look},
        {"a connection lost in a transaction is unavailable, then renewed",
         a_connection_lost_in_a_transaction_is_unavailable_then_renewed},
        {"a connection lost at commit is unavailable", a_connection_lost_at_commit_is_unavailable},
        {"a snapshot shows nothing that was committed since, and writes nothing",
         a_snapshot_shows_nothing_that_was_committed_since_and_writes_nothing},
        {"a server that is away is unavailable", a_server_that_is_away_is_unavailable},
        CU_TEST_INFO_NULL,
    };
    return server_suite("db", start_server, stop_server, tests);
}
