/* test_publish.c: what the limit table is filled from, against a real PostgreSQL: a cluster of its own (tests/pg.sh) */
#include "lib/store/publish.h"

#include <string.h>

#include "tests/unit/store/schema.h"

static char conninfo[256];
static struct db *owner;
static struct publish *p;

static int start_server(void)
{
    return !schema_start("publish", &owner, conninfo) || publish_open(conninfo, "test", 5, 30, NULL, &p) != STATUS_OK;
}

static int stop_server(void)
{
    publish_close(p);
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

static enum status count_tenant(void *arg, const struct limit_tenant *t, const struct publish_gauge *gauges, size_t n)
{
    (void)t, (void)gauges, (void)n;
    ++*(int *)arg;
    return STATUS_OK;
}

static enum status count_change(void *arg, const struct publish_change *c)
{
    *(int *)arg += strcmp(c->subject, "second") == 0;
    return STATUS_OK;
}

static void all_reads_of_one_bracket_see_one_snapshot_and_the_cursor_misses_nothing(void)
{
    struct limit_catalogue none, c;
    char cursor[PUBLISH_CURSOR_SIZE], later[PUBLISH_CURSOR_SIZE];
    char left_out[PUBLISH_LEFT_OUT_SIZE];
    bool moved;
    int before = 0, within = 0, changes = 0, since = 0;

    memset(&none, 0, sizeof(none));
    make_tenant("first");
    CU_ASSERT_EQUAL_FATAL(publish_begin(p, cursor), STATUS_OK);
    CU_ASSERT_EQUAL(publish_catalogue(p, &none, &c, &moved, left_out), STATUS_OK);
    CU_ASSERT_EQUAL(publish_tenants(p, &c, NULL, count_tenant, &before), STATUS_OK);
    make_tenant("second");
    CU_ASSERT_EQUAL(publish_tenants(p, &c, NULL, count_tenant, &within), STATUS_OK);
    CU_ASSERT_EQUAL(publish_changes(p, PUBLISH_CONFIG, cursor, count_change, &changes), STATUS_OK);
    CU_ASSERT_EQUAL(publish_end(p), STATUS_OK);
    CU_ASSERT_EQUAL(before, 1);
    CU_ASSERT_EQUAL(within, 1);
    CU_ASSERT_EQUAL(changes, 0);
    CU_ASSERT_EQUAL_FATAL(publish_begin(p, later), STATUS_OK);
    CU_ASSERT_EQUAL(publish_changes(p, PUBLISH_CONFIG, cursor, count_change, &since), STATUS_OK);
    CU_ASSERT_EQUAL(publish_end(p), STATUS_OK);
    CU_ASSERT(since > 0);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"all reads of one bracket see one snapshot, and the cursor misses nothing",
         all_reads_of_one_bracket_see_one_snapshot_and_the_cursor_misses_nothing},
        CU_TEST_INFO_NULL,
    };
    return server_suite("publish", start_server, stop_server, tests);
}
