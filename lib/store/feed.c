/* feed.c: its connection and snapshots, and the catalogue */
#include "lib/store/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/feed_parts.h"
#include "lib/store/history.h"
#include "lib/store/schema_version.h"

enum status feed_on(struct db *d, const struct history_view *view, struct feed **out)
{
    struct feed *p = calloc(1, sizeof(*p));

    if (!p)
        return STATUS_NO_MEMORY;
    p->db = d;
    p->view = view;
    *out = p;
    return STATUS_OK;
}

enum status feed_open(const char *conninfo, const char *name, int connect_timeout_s, int statement_timeout_s,
                      struct history_view *view, struct feed **out)
{
    struct db *d;
    enum status s = db_open(conninfo, name, &d);

    if (s != STATUS_OK)
        return s;
    schema_version_hold(d);
    db_timeouts(d, connect_timeout_s, statement_timeout_s);
    if (view)
        db_on_connect(d, history_check, view);
    if ((s = feed_on(d, view, out)) == STATUS_OK)
        (*out)->owns = true;
    else
        db_close(d);
    return s;
}

void feed_close(struct feed *p)
{
    if (!p)
        return;
    if (p->owns)
        db_close(p->db);
    free(p);
}

const char *feed_error(const struct feed *p)
{
    return db_error(p->db);
}

enum status feed_news(struct feed *p, enum feed_what what, const char *cursor, bool *any)
{
    static const char *const sql[] = {
        [FEED_CONFIG] = "SELECT EXISTS (SELECT FROM tollgate.config_changes WHERE " FEED_NEW
                        " AND kind OPERATOR(pg_catalog.<>) 'lease')",
        [FEED_LEASES] = "SELECT EXISTS (SELECT FROM tollgate.config_changes WHERE " FEED_NEW
                        " AND kind OPERATOR(pg_catalog.=) 'lease')",
        [FEED_COUNTS] = "SELECT EXISTS (SELECT FROM tollgate.usage_counts WHERE " FEED_NEW ") OR "
                        "EXISTS (SELECT FROM tollgate.config_changes WHERE " FEED_NEW
                        " AND kind OPERATOR(pg_catalog.=) 'lease')",
    };

    return db_get_bool(db_look, p->db, sql[what], DB_WITH(cursor), any);
}

enum status feed_begin(struct feed *p, char cursor[FEED_CURSOR_SIZE])
{
    static const char sql[] = "SELECT pg_current_snapshot()::text, pg_snapshot_xmin(pg_current_snapshot())::text";
    struct db_rows *rows;
    enum status s = db_begin_snapshot(p->db, false);

    if (s != STATUS_OK)
        return s;
    if ((s = db_query(p->db, sql, DB_NOTHING, &rows)) != STATUS_OK) {
        db_rollback(p->db);
        return s;
    }
    /* So many transactions under way that they have no room: then all since the oldest of them is new, some of it again. */
    if (snprintf(cursor, FEED_CURSOR_SIZE, "%s", db_text(rows, 0, 0)) >= FEED_CURSOR_SIZE)
        snprintf(cursor, FEED_CURSOR_SIZE, "%s:%s:", db_text(rows, 0, 1), db_text(rows, 0, 1));
    history_cursor(p->view, cursor);
    db_rows_free(rows);
    return STATUS_OK;
}

enum status feed_end(struct feed *p)
{
    return db_commit(p->db);
}

/* ---- the catalogue ---- */

static int find_metric(const struct limit_catalogue *c, const char *name)
{
    return limit_table_metric(c, name, strlen(name));
}

int feed_limit(const struct limit_catalogue *c, const char *key)
{
    for (uint32_t i = 0; i < c->n_limits; i++)
        if (strcmp(c->limits[i].key, key) == 0)
            return (int)i;
    return -1;
}

uint8_t feed_window(const char *name)
{
    for (unsigned w = 0; w < LIMIT_WINDOWS; w++)
        if (strcmp(limit_window_name(w), name) == 0)
            return (uint8_t)w;
    return LIMIT_WINDOW_NONE;
}

static uint8_t aggregation_of(const char *name)
{
    static const char *const names[] = {
        [LIMIT_SUM] = "sum", [LIMIT_COUNT] = "count",   [LIMIT_LEVEL] = "level",
        [LIMIT_MAX] = "max", [LIMIT_UNIQUE] = "unique",
    };

    for (size_t a = 0; a < sizeof(names) / sizeof(names[0]); a++)
        if (strcmp(names[a], name) == 0)
            return (uint8_t)a;
    return LIMIT_SUM;
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
    c->metrics[i].aggregation = aggregation_of(db_text(rows, row, 1));
    c->metrics[i].kind = c->metrics[i].aggregation == LIMIT_LEVEL       ? LIMIT_KIND_GAUGE
                         : limit_is_observed(c->metrics[i].aggregation) ? LIMIT_KIND_OBSERVED
                                                                        : LIMIT_KIND_COUNTER;
    c->metrics[i].derived = db_bool(rows, row, 2);
    return true;
}

/* False: there is no room for it, or for its metric. */
static bool put_limit(struct limit_catalogue *c, const struct db_rows *rows, size_t row)
{
    const char *key = db_text(rows, row, 0);
    int metric = find_metric(c, db_text(rows, row, 1)), i = feed_limit(c, key);

    if (metric < 0)
        return false;
    if (i < 0) {
        if (c->n_limits == LIMIT_TABLE_LIMITS)
            return false;
        i = (int)c->n_limits++;
        snprintf(c->limits[i].key, sizeof(c->limits[i].key), "%s", key);
    }
    c->limits[i].metric = (uint8_t)metric;
    c->limits[i].window = feed_window(db_text(rows, row, 2));
    return true;
}

/* Is every name of `old` in `rows`? Its place would be another's otherwise. */
static bool all_there(const struct limit_catalogue *old, const struct db_rows *metrics, const struct db_rows *limits)
{
    size_t found = 0;

    for (size_t i = 0; i < db_count(metrics); i++)
        found += find_metric(old, db_text(metrics, i, 0)) >= 0;
    for (size_t i = 0; i < db_count(limits); i++)
        found += feed_limit(old, db_text(limits, i, 0)) >= 0;
    return found == (size_t)old->n_metrics + old->n_limits;
}

/* Only the first is named: one is enough to look for the others. */
static void note_left_out(char out[FEED_LEFT_OUT_SIZE], const char *what, const char *name)
{
    if (out[0] == '\0')
        snprintf(out, FEED_LEFT_OUT_SIZE, "%s %s", what, name);
}

enum status feed_catalogue(struct feed *p, const struct limit_catalogue *old, struct limit_catalogue *out, bool *moved,
                           char left_out[FEED_LEFT_OUT_SIZE])
{
    static const char metrics_sql[] =
        "SELECT metric_type, aggregation, derived FROM tollgate.usage_metrics ORDER BY created_at, metric_type";
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
    db_rows_free(metrics);
    db_rows_free(limits);
    return s;
}
