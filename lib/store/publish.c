/* publish.c: the limit table's contents, read from PostgreSQL */
#include "lib/store/publish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/base/clock.h"
#include "lib/store/db.h"
#include "lib/store/history.h"

#define PAGE_ROWS 2000 /* rows held at a time, however many tenants and keys there are */
#define TEXT_OF(number) #number
#define PAGE_TEXT(number) TEXT_OF(number)

/*
 * Rows that the cursor $1 did not see; the index is on xid. A transaction id beyond those of this cluster came with a dump of another
 * one: it says nothing.
 */
#define NEW                                                                                        \
    "xid OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmin($1::pg_catalog.pg_snapshot) AND NOT " \
    "pg_catalog.pg_visible_in_snapshot(xid, $1::pg_catalog.pg_snapshot) AND xid "                  \
    "OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"

struct publish {
    struct db *db;
    const struct history_view *view;
    bool owns;
};

typedef enum status row_fn(void *arg, const struct db_rows *rows, size_t row);

enum status publish_on(struct db *d, const struct history_view *view, struct publish **out)
{
    struct publish *p = calloc(1, sizeof(*p));

    if (!p)
        return STATUS_NO_MEMORY;
    p->db = d;
    p->view = view;
    *out = p;
    return STATUS_OK;
}

enum status publish_open(const char *conninfo, const char *name, int connect_timeout_s, int statement_timeout_s,
                         struct history_view *view, struct publish **out)
{
    struct db *d;
    enum status s = db_open(conninfo, name, &d);

    if (s != STATUS_OK)
        return s;
    db_timeouts(d, connect_timeout_s, statement_timeout_s);
    if (view)
        db_on_connect(d, history_check, view);
    if ((s = publish_on(d, view, out)) == STATUS_OK)
        (*out)->owns = true;
    else
        db_close(d);
    return s;
}

void publish_close(struct publish *p)
{
    if (!p)
        return;
    if (p->owns)
        db_close(p->db);
    free(p);
}

const char *publish_error(const struct publish *p)
{
    return db_error(p->db);
}

enum status publish_news(struct publish *p, enum publish_what what, const char *cursor, bool *any)
{
    static const char *const sql[] = {
        [PUBLISH_CONFIG] = "SELECT EXISTS (SELECT FROM tollgate.config_changes WHERE " NEW
                           " AND kind OPERATOR(pg_catalog.<>) 'lease')",
        [PUBLISH_LEASES] = "SELECT EXISTS (SELECT FROM tollgate.config_changes WHERE " NEW
                           " AND kind OPERATOR(pg_catalog.=) 'lease')",
        [PUBLISH_COUNTS] = "SELECT EXISTS (SELECT FROM tollgate.usage_counts WHERE " NEW ") OR "
                           "EXISTS (SELECT FROM tollgate.config_changes WHERE " NEW
                           " AND kind OPERATOR(pg_catalog.=) 'lease')",
    };
    struct db_rows *rows;
    enum status s = db_look(p->db, sql[what], 1, (const char *[]){cursor}, &rows);

    if (s != STATUS_OK)
        return s;
    *any = db_bool(rows, 0, 0);
    db_rows_free(rows);
    return STATUS_OK;
}

enum status publish_begin(struct publish *p, char cursor[PUBLISH_CURSOR_SIZE])
{
    static const char sql[] = "SELECT pg_current_snapshot()::text, pg_snapshot_xmin(pg_current_snapshot())::text";
    struct db_rows *rows;
    enum status s = db_begin_snapshot(p->db);

    if (s != STATUS_OK)
        return s;
    if ((s = db_query(p->db, sql, 0, NULL, &rows)) != STATUS_OK) {
        db_rollback(p->db);
        return s;
    }
    /* So many transactions under way that they have no room: then all since the oldest of them is new, some of it again. */
    if (snprintf(cursor, PUBLISH_CURSOR_SIZE, "%s", db_text(rows, 0, 0)) >= PUBLISH_CURSOR_SIZE)
        snprintf(cursor, PUBLISH_CURSOR_SIZE, "%s:%s:", db_text(rows, 0, 1), db_text(rows, 0, 1));
    history_cursor(p->view, cursor);
    db_rows_free(rows);
    return STATUS_OK;
}

enum status publish_end(struct publish *p)
{
    return db_commit(p->db);
}

/* Every row of a statement with one parameter, a page at a time. */
static enum status each_row(struct publish *p, const char *sql, const char *param, row_fn *fn, void *arg)
{
    char declare[4096];
    struct db_rows *rows;
    size_t n;
    enum status s = STATUS_LIMIT;

    if ((size_t)snprintf(declare, sizeof(declare), "DECLARE page NO SCROLL CURSOR FOR %s", sql) >= sizeof(declare))
        return s;
    if ((s = db_query(p->db, declare, 1, (const char *[]){param}, NULL)) != STATUS_OK)
        return s;
    do {
        if ((s = db_query(p->db, "FETCH " PAGE_TEXT(PAGE_ROWS) " FROM page", 0, NULL, &rows)) != STATUS_OK)
            return s;
        n = db_count(rows);
        for (size_t i = 0; i < n && s == STATUS_OK; i++)
            s = fn(arg, rows, i);
        db_rows_free(rows);
    } while (s == STATUS_OK && n == PAGE_ROWS);
    return s == STATUS_OK ? db_query(p->db, "CLOSE page", 0, NULL, NULL) : s;
}

/* ---- the catalogue ---- */

static int find_metric(const struct limit_catalogue *c, const char *name)
{
    for (uint32_t i = 0; i < c->n_metrics; i++)
        if (strcmp(c->metrics[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int find_limit(const struct limit_catalogue *c, const char *key)
{
    for (uint32_t i = 0; i < c->n_limits; i++)
        if (strcmp(c->limits[i].key, key) == 0)
            return (int)i;
    return -1;
}

static uint8_t window_of(const char *name)
{
    switch (name[0]) {
    case 'm':
        return LIMIT_WINDOW_MINUTE;
    case 'd':
        return LIMIT_WINDOW_DAY;
    case 'p':
        return LIMIT_WINDOW_PERIOD;
    default:
        return LIMIT_WINDOW_NONE;
    }
}

/* False: there is no room for it. */
static bool put_metric(struct limit_catalogue *c, const struct db_rows *rows, size_t row)
{
    const char *name = db_text(rows, row, 0);
    int i = find_metric(c, name);

    if (i < 0) {
        if (c->n_metrics == LIMIT_TABLE_METRICS)
            return false;
        i = (int)c->n_metrics++;
        snprintf(c->metrics[i].name, sizeof(c->metrics[i].name), "%s", name);
    }
    c->metrics[i].kind = db_text(rows, row, 1)[0] == 'g' ? LIMIT_KIND_GAUGE : LIMIT_KIND_COUNTER;
    c->metrics[i].derived = db_bool(rows, row, 2);
    return true;
}

/* False: there is no room for it, or for its metric. */
static bool put_limit(struct limit_catalogue *c, const struct db_rows *rows, size_t row)
{
    const char *key = db_text(rows, row, 0);
    int metric = find_metric(c, db_text(rows, row, 1)), i = find_limit(c, key);

    if (metric < 0)
        return false;
    if (i < 0) {
        if (c->n_limits == LIMIT_TABLE_LIMITS)
            return false;
        i = (int)c->n_limits++;
        snprintf(c->limits[i].key, sizeof(c->limits[i].key), "%s", key);
    }
    c->limits[i].metric = (uint8_t)metric;
    c->limits[i].window = window_of(db_text(rows, row, 2));
    return true;
}

/* Is every name of `old` in `rows`? Its place would be another's otherwise. */
static bool all_there(const struct limit_catalogue *old, const struct db_rows *metrics, const struct db_rows *limits)
{
    size_t found = 0;

    for (size_t i = 0; i < db_count(metrics); i++)
        found += find_metric(old, db_text(metrics, i, 0)) >= 0;
    for (size_t i = 0; i < db_count(limits); i++)
        found += find_limit(old, db_text(limits, i, 0)) >= 0;
    return found == (size_t)old->n_metrics + old->n_limits;
}

/* Only the first is named: one is enough to look for the others. */
static void note_left_out(char out[PUBLISH_LEFT_OUT_SIZE], const char *what, const char *name)
{
    if (out[0] == '\0')
        snprintf(out, PUBLISH_LEFT_OUT_SIZE, "%s %s", what, name);
}

enum status publish_catalogue(struct publish *p, const struct limit_catalogue *old, struct limit_catalogue *out,
                              bool *moved, char left_out[PUBLISH_LEFT_OUT_SIZE])
{
    static const char metrics_sql[] =
        "SELECT metric_type, kind, derived FROM tollgate.usage_metrics ORDER BY created_at, metric_type";
    static const char limits_sql[] = "SELECT k.limit_key, k.metric_type, k.limit_window FROM tollgate.usage_limit_keys "
                                     "k JOIN tollgate.usage_metrics m "
                                     "USING (metric_type) ORDER BY m.created_at, m.metric_type, k.limit_key";
    struct db_rows *metrics = NULL, *limits = NULL;
    enum status s = db_query(p->db, metrics_sql, 0, NULL, &metrics);

    if (s == STATUS_OK)
        s = db_query(p->db, limits_sql, 0, NULL, &limits);
    if (s == STATUS_OK) {
        *moved = !all_there(old, metrics, limits);
        if (*moved)
            memset(out, 0, sizeof(*out));
        else
            *out = *old;
        left_out[0] = '\0';
        for (size_t i = 0; i < db_count(metrics); i++)
            if (!put_metric(out, metrics, i))
                note_left_out(left_out, "metric", db_text(metrics, i, 0));
        for (size_t i = 0; i < db_count(limits); i++)
            if (!put_limit(out, limits, i))
                note_left_out(left_out, "limit", db_text(limits, i, 0));
    }
    if (metrics)
        db_rows_free(metrics);
    if (limits)
        db_rows_free(limits);
    return s;
}

/* ---- tenants ---- */

/* "12.5" in millionths, capped; "-1" is unlimited. */
static int64_t amount(const char *text)
{
    double v = strtod(text, NULL);

    if (!(v >= 0))
        return LIMIT_UNLIMITED;
    return v * 1e6 >= (double)EVENT_VALUE_MAX ? EVENT_VALUE_MAX : (int64_t)(v * 1e6 + 0.5);
}

/* One limit: "key max until_us after mode grace_percent grace_until_us", spaces between, "-" for none. */
static void read_limit(const char *line, const struct limit_catalogue *c, struct limit_tenant *t)
{
    char key[LIMIT_NAME_SIZE], max[40], until[24], after[40], mode[8], grace_until[24];
    int percent, i;

    if (sscanf(line, "%100s %39s %23s %39s %7s %d %23s", key, max, until, after, mode, &percent, grace_until) != 7)
        return;
    if ((i = find_limit(c, key)) < 0)
        return;
    t->limits[i] = (struct limit){.max = amount(max),
                                  .until_us = until[0] == '-' ? LIMIT_NEVER : strtoll(until, NULL, 10),
                                  .max_after = amount(after),
                                  .grace_until_us = grace_until[0] == '-' ? 0 : strtoll(grace_until, NULL, 10),
                                  .grace_percent = percent,
                                  .mode = mode[0] == 's'   ? LIMIT_SOFT
                                          : mode[0] == 'g' ? LIMIT_GRACE
                                                           : LIMIT_HARD,
                                  .window = c->limits[i].window};
}

static void read_limits(const char *lines, const struct limit_catalogue *c, struct limit_tenant *t)
{
    for (uint32_t i = 0; i < LIMIT_TABLE_LIMITS; i++)
        t->limits[i] = (struct limit){.max = LIMIT_UNLIMITED,
                                      .until_us = LIMIT_NEVER,
                                      .max_after = LIMIT_UNLIMITED,
                                      .window = i < c->n_limits ? c->limits[i].window : LIMIT_WINDOW_NONE};
    while (*lines) {
        read_limit(lines, c, t);
        lines += strcspn(lines, "\n");
        lines += *lines == '\n';
    }
}

/* "start,start,…": consecutive boundaries, and the zone's offset at each; n of them bound n - 1 spans. */
static void read_spans(const char *bounds, const char *offsets, struct limit_span *spans, size_t n)
{
    int64_t before = 0;

    for (size_t i = 0; *bounds && i <= n; i++) {
        int64_t at = strtoll(bounds, NULL, 10);
        int32_t offset = (int32_t)strtol(offsets, NULL, 10);

        if (i > 0)
            spans[i - 1] = (struct limit_span){.start_us = before, .end_us = at, .end_offset_s = offset};
        before = at;
        bounds += strcspn(bounds, ",");
        bounds += *bounds == ',';
        offsets += strcspn(offsets, ",");
        offsets += *offsets == ',';
    }
}

static enum status one_tenant(const struct limit_catalogue *c, const struct db_rows *rows, size_t row,
                              publish_tenant_fn *fn, void *arg)
{
    static const char *const names[] = {"patients_count", "users_count", "appointments_count", "storage_used_gb"};
    struct publish_gauge gauges[4];
    struct limit_tenant t;
    size_t n = 0;

    memset(&t, 0, sizeof(t));
    snprintf(t.id, sizeof(t.id), "%s", db_text(rows, row, 0));
    snprintf(t.tier, sizeof(t.tier), "%s", db_text(rows, row, 1));
    t.state = db_text(rows, row, 2)[0] == 's'   ? LIMIT_TENANT_SUSPENDED
              : db_text(rows, row, 2)[0] == 'n' ? LIMIT_TENANT_NO_SUBSCRIPTION
                                                : LIMIT_TENANT_ACTIVE;
    read_limits(db_text(rows, row, 3), c, &t);
    read_spans(db_text(rows, row, 4), db_text(rows, row, 5), t.days, LIMIT_DAYS);
    read_spans(db_text(rows, row, 6), db_text(rows, row, 7), t.periods, LIMIT_PERIODS);
    for (int i = 0; i < 4; i++) {
        int metric = find_metric(c, names[i]);

        if (metric >= 0)
            gauges[n++] = (struct publish_gauge){metric, amount(db_text(rows, row, 8 + i))};
    }
    return fn(arg, &t, gauges, n);
}

/* At most `most` tenants behind `after`, or `only` one; *n: how many there were. */
static enum status some_tenants(struct publish *p, const struct limit_catalogue *c, const char *only,
                                char after[LIMIT_TENANT_SIZE], int most, publish_tenant_fn *fn, void *arg, size_t *n)
{
    static const char sql[] = "SELECT tenant_id, tier_id, state, limits, days, day_offsets, periods, period_offsets, "
                              "patients, users, appointments, storage_gb FROM tollgate.table_lines($1, $2, $3::bigint)";
    char limit[16];
    struct db_rows *rows;
    enum status s;

    snprintf(limit, sizeof(limit), "%d", most);
    if ((s = db_query(p->db, sql, 3, (const char *[]){only, after, limit}, &rows)) != STATUS_OK)
        return s;
    *n = db_count(rows);
    for (size_t i = 0; i < *n && s == STATUS_OK; i++)
        s = one_tenant(c, rows, i, fn, arg);
    if (*n > 0)
        snprintf(after, LIMIT_TENANT_SIZE, "%s", db_text(rows, *n - 1, 0));
    db_rows_free(rows);
    return s;
}

enum status publish_tenants(struct publish *p, const struct limit_catalogue *c, const char *only, publish_tenant_fn *fn,
                            void *arg)
{
    char after[LIMIT_TENANT_SIZE] = "";
    size_t n;
    enum status s;

    do
        s = some_tenants(p, c, only, after, PAGE_ROWS, fn, arg, &n);
    while (s == STATUS_OK && n == PAGE_ROWS);
    return s == STATUS_OK && only && n == 0 ? STATUS_NOT_FOUND : s;
}

enum status publish_tenants_after(struct publish *p, const struct limit_catalogue *c, char after[LIMIT_TENANT_SIZE],
                                  int most, publish_tenant_fn *fn, void *arg, bool *more)
{
    size_t n;
    enum status s = some_tenants(p, c, NULL, after, most, fn, arg, &n);

    if (s == STATUS_OK)
        *more = n == (size_t)most;
    return s;
}

/* ---- keys ---- */

/* bytea's text form, "\x…"; false when it is not `n` bytes. */
static bool read_hex(const char *text, unsigned char *out, size_t n)
{
    size_t length;

    return strncmp(text, "\\x", 2) == 0 && strlen(text) == 2 + 2 * n &&
           sodium_hex2bin(out, n, text + 2, 2 * n, NULL, &length, NULL) == 0 && length == n;
}

static uint8_t read_scopes(const char *text)
{
    static const struct {
        const char *name;
        uint8_t scope;
    } scopes[] = {{"call", LIMIT_SCOPE_CALL},
                  {"track", LIMIT_SCOPE_TRACK},
                  {"read", LIMIT_SCOPE_READ},
                  {"admin", LIMIT_SCOPE_ADMIN},
                  {"metrics", LIMIT_SCOPE_METRICS}};
    uint8_t found = 0;

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
        if (strstr(text, scopes[i].name))
            found |= scopes[i].scope;
    return found;
}

struct key_reader {
    publish_key_fn *fn;
    void *arg;
};

static enum status one_key(void *arg, const struct db_rows *rows, size_t row)
{
    const struct key_reader *r = arg;
    struct limit_key k;

    memset(&k, 0, sizeof(k));
    if (!read_hex(db_text(rows, row, 3), k.hash, sizeof(k.hash)))
        return STATUS_OK;
    snprintf(k.id, sizeof(k.id), "%s", db_text(rows, row, 0));
    k.is_operator = db_bool(rows, row, 2);
    k.scopes = read_scopes(db_text(rows, row, 4));
    k.revoked = db_bool(rows, row, 5);
    k.expires_us = db_null(rows, row, 6) ? LIMIT_NEVER : db_int(rows, row, 6);
    return r->fn(r->arg, &k, db_text(rows, row, 1));
}

#define KEY_COLUMNS                                                                               \
    "SELECT id, coalesce(tenant_id, ''), tenant_id IS NULL, hash, array_to_string(scopes, ','), " \
    "revoked_at IS NOT NULL, tollgate.us(expires_at) FROM tollgate.api_keys "

enum status publish_keys(struct publish *p, const char *only, publish_key_fn *fn, void *arg)
{
    struct key_reader r = {fn, arg};

    return each_row(p, KEY_COLUMNS "WHERE $1::text IS NULL OR id = $1", only, one_key, &r);
}

struct key_change_reader {
    struct key_reader key;
    publish_gone_fn *gone;
};

static enum status one_key_change(void *arg, const struct db_rows *rows, size_t row)
{
    struct key_change_reader *r = arg;
    unsigned char hash[LIMIT_HASH_BYTES];

    if (!db_null(rows, row, 7))
        return read_hex(db_text(rows, row, 7), hash, sizeof(hash)) ? r->gone(r->key.arg, hash) : STATUS_OK;
    return db_null(rows, row, 0) ? STATUS_OK : one_key(&r->key, rows, row);
}

/* What closes the door comes first. */
enum status publish_keys_since(struct publish *p, const char *cursor, publish_key_fn *fn, publish_gone_fn *gone,
                               void *arg)
{
    static const char sql[] =
        "WITH changed AS (SELECT DISTINCT subject, hash FROM tollgate.config_changes WHERE kind = 'key' AND " NEW ") "
        "SELECT NULL, '', NULL, NULL, NULL, NULL, NULL, c.hash FROM changed c "
        "WHERE NOT EXISTS (SELECT FROM tollgate.api_keys k WHERE k.hash = c.hash) AND c.hash IS NOT NULL "
        "UNION ALL (SELECT k.*, NULL::bytea FROM (" KEY_COLUMNS
        "WHERE id IN (SELECT subject::pg_catalog.bpchar FROM changed)) k ORDER BY 6 DESC)";
    struct key_change_reader r = {{fn, arg}, gone};

    return each_row(p, sql, cursor, one_key_change, &r);
}

enum status publish_keys_of(struct publish *p, const char *tenant, publish_key_fn *fn, void *arg)
{
    struct key_reader r = {fn, arg};

    return each_row(p, KEY_COLUMNS "WHERE tenant_id = $1", tenant, one_key, &r);
}

/* ---- counts and changes ---- */

struct count_reader {
    publish_count_fn *fn;
    void *arg;
};

static enum status one_count(void *arg, const struct db_rows *rows, size_t row)
{
    const struct count_reader *r = arg;
    struct publish_count c = {.tenant = db_text(rows, row, 0),
                              .metric = db_text(rows, row, 1),
                              .day = db_text(rows, row, 2)[0] == 'd',
                              .start_us = db_int(rows, row, 3),
                              .end_us = db_int(rows, row, 4),
                              .used = db_int(rows, row, 5)};

    return r->fn(r->arg, &c);
}

static enum status each_count(struct publish *p, const char *sql, const char *param, publish_count_fn *fn, void *arg)
{
    struct count_reader r = {fn, arg};

    return each_row(p, sql, param, one_count, &r);
}

#define COUNT_COLUMNS \
    "SELECT tenant_id, metric_type, limit_window, starts_us, ends_us, used FROM tollgate.table_counts "

enum status publish_counts(struct publish *p, const char *only, publish_count_fn *fn, void *arg)
{
    return each_count(p,
                      COUNT_COLUMNS
                      "WHERE ($1::text IS NULL OR tenant_id = $1) AND period_ends_at > now() - interval '2 days' "
                      "AND (limit_window = 'period' OR window_start >= current_date - 2) "
                      "ORDER BY tenant_id, metric_type, limit_window",
                      only, fn, arg);
}

enum status publish_counts_since(struct publish *p, const char *cursor, publish_count_fn *fn, void *arg)
{
    return each_count(p, COUNT_COLUMNS "WHERE limit_window = 'day' AND " NEW, cursor, fn, arg);
}

static enum status each_change(struct publish *p, const char *sql, size_t n, const char *cursor, publish_change_fn *fn,
                               void *arg)
{
    struct db_rows *rows;
    enum status s = db_query(p->db, sql, n, (const char *[]){cursor}, &rows);

    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        unsigned char hash[LIMIT_HASH_BYTES];
        bool known = !db_null(rows, i, 2) && read_hex(db_text(rows, i, 2), hash, sizeof(hash));
        struct publish_change c = {
            .kind = db_text(rows, i, 0), .subject = db_text(rows, i, 1), .hash = known ? hash : NULL};

        s = fn(arg, &c);
    }
    db_rows_free(rows);
    return s;
}

enum status publish_changes(struct publish *p, enum publish_what what, const char *cursor, publish_change_fn *fn,
                            void *arg)
{
    static const char *const sql[] = {
        [PUBLISH_CONFIG] = "SELECT DISTINCT kind, subject, NULL FROM tollgate.config_changes "
                           "WHERE kind IN ('catalogue', 'tenant') AND " NEW " ORDER BY kind, subject",
        [PUBLISH_LEASES] =
            "SELECT DISTINCT kind, subject, NULL FROM tollgate.config_changes WHERE kind = 'lease' AND " NEW,
    };

    return each_change(p, sql[what], 1, cursor, fn, arg);
}

enum status publish_removed(struct publish *p, publish_change_fn *fn, void *arg)
{
    return each_change(
        p,
        "SELECT kind, subject, min(hash::text) FROM tollgate.config_changes c WHERE kind IN ('tenant', 'key') "
        "AND NOT EXISTS (SELECT FROM public.tenants t WHERE c.kind = 'tenant' AND t.id = c.subject) "
        "AND NOT EXISTS (SELECT FROM tollgate.api_keys k WHERE c.kind = 'key' AND k.id = c.subject "
        "AND k.hash = c.hash) GROUP BY kind, subject, hash ORDER BY kind, subject",
        0, NULL, fn, arg);
}

/* ---- leases ---- */

enum status publish_leases_unsettled(struct publish *p, const char *node, const char *tenant, publish_lease_fn *fn,
                                     void *arg)
{
    static const char sql[] =
        "SELECT tenant_id, limit_key, tollgate.us(starts_at) FROM tollgate.leases_unsettled($1::uuid, $2)";
    struct db_rows *rows;
    enum status s;

    if ((s = db_query(p->db, sql, 2, (const char *[]){node, tenant}, &rows)) != STATUS_OK)
        return s;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        struct publish_lease l = {db_text(rows, i, 0), db_text(rows, i, 1), db_int(rows, i, 2)};

        s = fn(arg, &l);
    }
    db_rows_free(rows);
    return s;
}

enum status publish_lease_step(struct publish *p, const char *node, const struct publish_lease *l,
                               const struct publish_lease_step *step, int64_t *epoch, int64_t *granted)
{
    static const char sql[] =
        "SELECT epoch, (granted * 1000000)::bigint FROM tollgate.lease($1, $2, to_timestamp($3::bigint / 1000000) + "
        "$3::bigint % 1000000 * interval '1 microsecond', $4::uuid, $5::numeric / 1000000, $6::numeric / 1000000, "
        "$7::bigint, $8::numeric / 1000000)";
    int64_t numbers[] = {l->start_us, step->ceiling, step->unleased, step->settled, step->back};
    char texts[5][24];
    struct db_rows *rows = NULL;
    enum status s = db_begin(p->db, NULL);

    if (s != STATUS_OK)
        return s;
    for (int i = 0; i < 5; i++)
        snprintf(texts[i], sizeof(texts[i]), "%" PRId64, numbers[i]);
    const char *params[] = {l->tenant, l->limit_key, texts[0], node, texts[1], texts[2], texts[3], texts[4]};
    if ((s = db_query(p->db, sql, 8, params, &rows)) != STATUS_OK) {
        db_rollback(p->db);
        return s;
    }
    *epoch = db_int(rows, 0, 0);
    int64_t share = db_int(rows, 0, 1);
    db_rows_free(rows);
    s = db_commit(p->db);
    *granted = s == STATUS_OK ? share : 0;
    return s;
}
