/*
 * table_make.c: a limit table without a database, for tests and benchmarks of the gate: table_make RUN_DIR SPOOL_DIR
 *
 * Plays the collector's part by commands on standard input, one a line; answers each with its lines and "ok" or "failed …":
 *   tenant ID STATE A_DAY A_MINUTE   state 1 active, 2 suspended, 3 no subscription; -1 is unlimited; the day is UTC's
 *   storage ID LEVEL MAX             an active tenant that uses LEVEL GB of MAX
 *   key SECRET TENANT SCOPES [revoked|expired]   tenant "-": an operator's
 *   fill TENANTS KEYS                f0, f1, … with unlimited calls; keys fill-0, fill-1, … in turn
 *   ready | retire (and begin another, which nobody sees until `ready`) | used ID | degraded ID | events | sizes
 * `events` prints every record of the spool: tenant, metric, flags, metadata.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/base/clock.h"
#include "lib/meter/apikey.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/meter/spool/spool.h"

#define DAY_US (INT64_C(86400) * CLOCK_US_PER_SECOND)

struct maker {
    const char *run_dir, *spool_dir;
    struct spool_node node;
    struct limit_table *table;
    int64_t storage_gb; /* of the tenant that is put; 0: unlimited */
};

static enum status open_table(struct maker *m, bool again)
{
    struct limit_catalogue c = {.n_metrics = 4, .n_limits = 4};
    bool fresh;
    strcpy(c.metrics[0].name, "api_call");
    strcpy(c.metrics[1].name, "file_upload");
    strcpy(c.metrics[2].name, "appointment_created");
    c.metrics[2].derived = 1;
    strcpy(c.limits[0].key, "api_calls_per_day");
    c.limits[0].window = LIMIT_WINDOW_DAY;
    strcpy(c.limits[1].key, "api_calls_per_minute");
    c.limits[1].window = LIMIT_WINDOW_MINUTE;
    strcpy(c.limits[2].key, "file_uploads_per_day");
    c.limits[2].metric = 1;
    c.limits[2].window = LIMIT_WINDOW_DAY;
    strcpy(c.metrics[3].name, "storage_used_gb");
    c.metrics[3].kind = LIMIT_KIND_GAUGE;
    c.metrics[3].derived = 1;
    strcpy(c.limits[3].key, "storage_gb");
    c.limits[3].metric = 3;
    enum status s = again ? limit_table_make(m->run_dir, m->node.uuid, &m->table)
                          : limit_table_create(m->run_dir, m->node.uuid, &m->table, &fresh);
    return s == STATUS_OK ? limit_table_put_catalogue(m->table, &c) : s;
}

static enum status put_tenant(struct maker *m, const char *id, int state, int64_t a_day, int64_t a_minute)
{
    struct limit_tenant t = {.state = (uint8_t)state, .held = ~UINT64_C(0)};
    uint32_t index;
    int64_t today = clock_wall_us() / DAY_US * DAY_US;
    snprintf(t.id, sizeof t.id, "%s", id);
    strcpy(t.tier, "starter");
    for (int i = 0; i < LIMIT_TABLE_LIMITS; i++)
        t.limits[i] = (struct limit){.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
    t.limits[0].max = a_day < 0 ? LIMIT_UNLIMITED : a_day * EVENT_MILLION;
    t.limits[0].window = t.limits[2].window = LIMIT_WINDOW_DAY;
    t.limits[1].max = a_minute < 0 ? LIMIT_UNLIMITED : a_minute * EVENT_MILLION;
    t.limits[1].window = LIMIT_WINDOW_MINUTE;
    if (m->storage_gb)
        t.limits[3].max = m->storage_gb * EVENT_MILLION;
    for (int i = 0; i < LIMIT_DAYS; i++)
        t.days[i] = (struct limit_span){today + (i - 1) * DAY_US, today + i * DAY_US, 0, 0};
    for (int i = 0; i < LIMIT_PERIODS; i++)
        t.periods[i] = (struct limit_span){today + (i - 2) * 30 * DAY_US, today + (i - 1) * 30 * DAY_US, 0, 0};
    return limit_table_put_tenant(m->table, &t, &index);
}

/* "ID LEVEL MAX", both in GB. */
static enum status put_storage(struct maker *m, const char *arguments)
{
    char id[LIMIT_TENANT_SIZE];
    double level;
    long max;
    uint32_t index;
    if (sscanf(arguments, "%255s %lf %ld", id, &level, &max) != 3)
        return STATUS_INVALID;
    m->storage_gb = max;
    enum status s = put_tenant(m, id, LIMIT_TENANT_ACTIVE, -1, -1);
    m->storage_gb = 0;
    if (s == STATUS_OK)
        s = limit_table_tenant_index(m->table, id, strlen(id), &index);
    return s == STATUS_OK ? limit_table_set_gauge(m->table, index, 3, (int64_t)(level * EVENT_MILLION)) : s;
}

static enum status put_key(struct maker *m, const char *secret, const char *tenant, int scopes, const char *state)
{
    struct limit_key k = {
        .scopes = (uint8_t)scopes, .expires_us = LIMIT_NEVER, .revoked = strcmp(state, "revoked") == 0};
    k.is_operator = strcmp(tenant, "-") == 0;
    if (strcmp(state, "expired") == 0)
        k.expires_us = clock_wall_us() - 1;
    enum status s = apikey_hash(secret, strlen(secret), k.hash);
    snprintf(k.id, sizeof k.id, "%s", "testkey1");
    if (s == STATUS_OK && !k.is_operator)
        s = limit_table_tenant_index(m->table, tenant, strlen(tenant), &k.tenant);
    return s == STATUS_OK ? limit_table_put_key(m->table, &k) : s;
}

static enum status fill(struct maker *m, long tenants, long keys)
{
    char id[32], secret[32];
    enum status s = STATUS_OK;
    for (long i = 0; i < tenants && s == STATUS_OK; i++) {
        snprintf(id, sizeof id, "f%ld", i);
        s = put_tenant(m, id, LIMIT_TENANT_ACTIVE, 1000000000, -1);
    }
    for (long i = 0; i < keys && s == STATUS_OK; i++) {
        snprintf(id, sizeof id, "f%ld", i % tenants);
        snprintf(secret, sizeof secret, "fill-%ld", i);
        s = put_key(m, secret, id, LIMIT_SCOPE_CALL, "");
    }
    return s;
}

static enum status print_segment(const struct maker *m, uint64_t number)
{
    struct spool_reader *r;
    struct event e;
    struct spool_damage damage;
    uint64_t next;
    bool final;
    enum status s = spool_reader_open(m->spool_dir, number, 0, NULL, &r);
    if (s != STATUS_OK)
        return s;
    while ((s = spool_read(r, &e, &next, &damage, &final)) == STATUS_OK)
        printf("%.*s %.*s %" PRIu32 " %.*s\n", (int)e.tenant.length, e.tenant.at, (int)e.metric.length, e.metric.at,
               (uint32_t)e.flags, (int)e.metadata.length, e.metadata.at);
    spool_reader_close(r);
    return s == STATUS_END ? STATUS_OK : s;
}

static enum status print_events(const struct maker *m)
{
    struct spool_segment *segments;
    size_t n;
    enum status s = spool_list(m->spool_dir, &segments, &n);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        s = print_segment(m, segments[i].number);
    free(segments);
    return s;
}

static enum status print_count(struct maker *m, const char *id, bool degraded)
{
    uint32_t index;
    int64_t n;
    enum status s = limit_table_tenant_index(m->table, id, strlen(id), &index);
    if (s == STATUS_OK)
        s = degraded ? limit_table_degraded(m->table, index, 0, &n)
                     : limit_table_count(m->table, index, 0, clock_wall_us(), &n);
    if (s == STATUS_OK)
        printf("%" PRId64 "\n", n / EVENT_MILLION);
    return s;
}

static enum status print_sizes(struct maker *m)
{
    struct limit_table_sizes z;
    enum status s = limit_table_sizes(m->table, &z);
    if (s == STATUS_OK)
        printf("tenants %" PRIu64 " keys %" PRIu64 " bytes a tenant %" PRIu64 ", a key %" PRIu64 ", in all %" PRIu64
               "\n",
               z.tenants, z.keys, z.tenant_bytes, z.key_bytes, z.file_bytes);
    return s;
}

static enum status obey(struct maker *m, const char *line)
{
    char a[256], b[256], state[16] = "";
    long x, y;
    int n;
    if (sscanf(line, "tenant %255s %d %ld %ld", a, &n, &x, &y) == 4)
        return put_tenant(m, a, n, x, y);
    if (strncmp(line, "storage ", 8) == 0)
        return put_storage(m, line + 8);
    if (sscanf(line, "key %255s %255s %d %15s", a, b, &n, state) >= 3)
        return put_key(m, a, b, n, state);
    if (sscanf(line, "fill %ld %ld", &x, &y) == 2)
        return fill(m, x, y);
    if (sscanf(line, "used %255s", a) == 1)
        return print_count(m, a, false);
    if (sscanf(line, "degraded %255s", a) == 1)
        return print_count(m, a, true);
    if (strcmp(line, "events\n") == 0)
        return print_events(m);
    if (strcmp(line, "sizes\n") == 0)
        return print_sizes(m);
    if (strcmp(line, "ready\n") == 0) {
        return limit_table_ready(m->table);
    }
    if (strcmp(line, "retire\n") == 0) {
        limit_table_close(m->table);
        m->table = NULL;
        enum status s = open_table(m, true);
        return s == STATUS_OK ? limit_table_supersede(m->table) : s;
    }
    return STATUS_INVALID;
}

int main(int argc, char *argv[])
{
    struct maker m = {0};
    char line[1024];
    if (argc != 3) {
        fputs("usage: table_make RUN_DIR SPOOL_DIR\n", stderr);
        return 2;
    }
    m.run_dir = argv[1];
    m.spool_dir = argv[2];
    enum status s = sodium_init() < 0 ? STATUS_IO : spool_node_load(m.spool_dir, true, &m.node);
    if (s == STATUS_OK)
        s = open_table(&m, false);
    while (s == STATUS_OK && fgets(line, sizeof line, stdin)) {
        enum status done = obey(&m, line);
        printf("%s%s\n", done == STATUS_OK ? "ok" : "failed ", done == STATUS_OK ? "" : status_text(done));
        fflush(stdout);
    }
    if (s != STATUS_OK)
        fprintf(stderr, "table_make: %s\n", status_text(s));
    limit_table_close(m.table);
    return s == STATUS_OK ? 0 : 1;
}
