/* feed_limits.c: tenants with their limits, and counts, read from PostgreSQL a page of tenants at a time */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/feed.h"
#include "lib/store/feed_parts.h"
#include "lib/store/limits.h"

#define TENANTS_A_PAGE 1000 /* held at a time, however many there are */

/* ---- tenants ---- */

/* The tenants of one page: at most `most` behind `after`, or `only` one. */
struct page {
    const char *only, *after;
    int most;
};

static enum status read_page(struct feed *p, const char *sql, const struct page *page, struct db_rows **rows)
{
    return db_query(p->db, sql, DB_WITH(page->only, page->after, DB_INT(page->most)), rows);
}

/* The rows of tenant t from *next on; both results are in the tenants' order. */
static void read_limits(const struct db_rows *rows, size_t *next, const struct limit_catalogue *c,
                        struct limit_tenant *t)
{
    for (uint32_t i = 0; i < LIMIT_TABLE_LIMITS; i++)
        t->limits[i] = (struct limit){.max = LIMIT_UNLIMITED,
                                      .until_us = LIMIT_NEVER,
                                      .max_after = LIMIT_UNLIMITED,
                                      .window = i < c->n_limits ? c->limits[i].window : LIMIT_WINDOW_NONE};
    for (; *next < db_count(rows) && strcmp(db_text(rows, *next, 0), t->id) == 0; (*next)++) {
        int i = feed_limit(c, db_text(rows, *next, 1));

        if (i >= 0)
            t->limits[i] = limits_row(rows, *next, 2, c->limits[i].window);
    }
}

static size_t read_numbers(const char *text, int64_t *out, size_t most);

/* The same of credits. */
static void read_credits(const struct db_rows *rows, size_t *next, const struct limit_catalogue *c,
                         struct limit_tenant *t)
{
    for (; *next < db_count(rows) && strcmp(db_text(rows, *next, 0), t->id) == 0; (*next)++) {
        int64_t from[LIMIT_GRANTS], until[LIMIT_GRANTS], left[LIMIT_GRANTS];
        struct limit_credit *to = &t->credits[t->n_credits];
        int slot = feed_limit(c, db_text(rows, *next, 1));
        size_t n = read_numbers(db_text(rows, *next, 4), from, LIMIT_GRANTS);

        if (slot < 0 || t->n_credits == LIMIT_CREDITS ||
            read_numbers(db_text(rows, *next, 5), until, LIMIT_GRANTS) != n ||
            read_numbers(db_text(rows, *next, 6), left, LIMIT_GRANTS) != n)
            continue;
        *to = (struct limit_credit){
            .slot = (uint8_t)slot, .n = (uint8_t)n, .since_us = db_int(rows, *next, 2), .plan = db_int(rows, *next, 3)};
        for (size_t i = 0; i < n; i++) {
            to->grants[i].from_us = from[i];
            to->grants[i].until_us = until[i];
            to->grants[i].left = left[i];
        }
        t->n_credits++;
    }
}

/* PostgreSQL's text of an array of numbers, "{1,2,3}", at most `most` of them; how many there were. */
static size_t read_numbers(const char *text, int64_t *out, size_t most)
{
    size_t n = 0;

    while (*text && *text != '}' && n < most) {
        char *end;

        text++; /* '{' or ',' */
        out[n] = strtoll(text, &end, 10);
        if (end == text)
            break;
        n++;
        text = end;
    }
    return n;
}

/* Boundaries that follow each other, and the zone's offset at each; n + 1 of them bound n spans. */
static void read_spans(const struct db_rows *rows, size_t row, int column, struct limit_span *spans, size_t most)
{
    int64_t bounds[LIMIT_DAYS + 1], offsets[LIMIT_DAYS + 1];
    size_t n = read_numbers(db_text(rows, row, column), bounds, most + 1);

    if (read_numbers(db_text(rows, row, column + 1), offsets, most + 1) < n)
        return;
    for (size_t i = 0; i + 1 < n; i++)
        spans[i] = (struct limit_span){
            .start_us = bounds[i], .end_us = bounds[i + 1], .end_offset_s = (int32_t)offsets[i + 1]};
}

/* The rows of tenant `id` from *next on into `gauges`; how many. */
static size_t read_levels(const struct db_rows *rows, size_t *next, const struct limit_catalogue *c, const char *id,
                          struct feed_gauge gauges[LIMIT_TABLE_METRICS])
{
    size_t n = 0;

    for (; *next < db_count(rows) && strcmp(db_text(rows, *next, 0), id) == 0; (*next)++) {
        const char *name = db_text(rows, *next, 1);
        int metric = limit_table_metric(c, name, strlen(name));

        if (metric >= 0 && n < LIMIT_TABLE_METRICS)
            gauges[n++] = (struct feed_gauge){.metric = metric,
                                              .posted = !c->metrics[metric].derived,
                                              .level = {.level = db_int(rows, *next, 2),
                                                        .recorded_us = db_int(rows, *next, 3),
                                                        .set_us = db_int(rows, *next, 4)}};
    }
    return n;
}

/* Limits of single keys. */
static void read_key_limits(const struct db_rows *rows, size_t *next, const struct limit_catalogue *c,
                            struct limit_tenant *t)
{
    for (; *next < db_count(rows) && strcmp(db_text(rows, *next, 0), t->id) == 0; (*next)++) {
        struct limit_of_key *to = &t->key_limits[t->n_key_limits];
        int slot = feed_limit(c, db_text(rows, *next, 1));

        if (slot < 0 || t->n_key_limits == LIMIT_KEY_LIMITS || c->limits[slot].window != LIMIT_WINDOW_MINUTE)
            continue;
        to->slot = (uint8_t)slot;
        to->limit = limits_row(rows, *next, 2, LIMIT_WINDOW_MINUTE);
        snprintf(to->key, sizeof(to->key), "%s", db_text(rows, *next, 8));
        t->n_key_limits++;
    }
}

/* What belongs to the tenants of a page, and how far each is read. */
struct page_rows {
    struct db_rows *tenants, *limits, *levels, *credits, *keys;
    size_t next_limit, next_level, next_credit, next_key;
};

static enum status one_tenant(const struct limit_catalogue *c, struct page_rows *p, size_t row, feed_tenant_fn *fn,
                              void *arg)
{
    const struct db_rows *rows = p->tenants;
    struct feed_gauge gauges[LIMIT_TABLE_METRICS];
    struct limit_tenant t;

    memset(&t, 0, sizeof(t));
    snprintf(t.id, sizeof(t.id), "%s", db_text(rows, row, 0));
    snprintf(t.tier, sizeof(t.tier), "%s", db_text(rows, row, 1));
    t.state = (uint8_t)limit_state_of(db_text(rows, row, 2));
    read_limits(p->limits, &p->next_limit, c, &t);
    read_credits(p->credits, &p->next_credit, c, &t);
    read_key_limits(p->keys, &p->next_key, c, &t);
    read_spans(rows, row, 3, t.days, LIMIT_DAYS);
    read_spans(rows, row, 5, t.periods, LIMIT_PERIODS);
    read_spans(rows, row, 7, t.weeks, LIMIT_WEEKS);
    return fn(arg, &t, gauges, read_levels(p->levels, &p->next_level, c, t.id, gauges));
}

/* *n: how many there were; `after` becomes the last one's id. */
static enum status some_tenants(struct feed *p, const struct limit_catalogue *c, const char *only,
                                char after[LIMIT_TENANT_SIZE], int most, feed_tenant_fn *fn, void *arg, size_t *n)
{
    static const char tenants_sql[] =
        "SELECT tenant_id, tier_id, state, days, day_offsets, periods, period_offsets, weeks, "
        "week_offsets "
        "FROM tollgate.feed_tenants($1, $2, $3::bigint)";
    static const char limits_sql[] =
        "SELECT tenant_id, limit_key, max, expires, after_expiry, mode, grace_percent, grace_until "
        "FROM tollgate.feed_limits($1, $2, $3::bigint)";
    static const char levels_sql[] =
        "SELECT tenant_id, metric_type, level, recorded, since FROM tollgate.feed_levels($1, $2, $3::bigint)";
    static const char credits_sql[] = "SELECT tenant_id, limit_key, since, plan, froms, untils, lefts "
                                      "FROM tollgate.feed_credits($1, $2, $3::bigint)";
    static const char keys_sql[] =
        "SELECT tenant_id, limit_key, max, expires, -1, mode, grace_percent, grace_until, key_id "
        "FROM tollgate.feed_key_limits($1, $2, $3::bigint)";
    struct page page = {only, after, most};
    struct page_rows r = {0};
    enum status s = read_page(p, tenants_sql, &page, &r.tenants);

    if (s == STATUS_OK)
        s = read_page(p, limits_sql, &page, &r.limits);
    if (s == STATUS_OK)
        s = read_page(p, levels_sql, &page, &r.levels);
    if (s == STATUS_OK)
        s = read_page(p, credits_sql, &page, &r.credits);
    if (s == STATUS_OK)
        s = read_page(p, keys_sql, &page, &r.keys);
    *n = s == STATUS_OK ? db_count(r.tenants) : 0;
    for (size_t i = 0; i < *n && s == STATUS_OK; i++)
        s = one_tenant(c, &r, i, fn, arg);
    if (*n > 0)
        snprintf(after, LIMIT_TENANT_SIZE, "%s", db_text(r.tenants, *n - 1, 0));
    db_rows_free(r.tenants);
    db_rows_free(r.limits);
    db_rows_free(r.levels);
    db_rows_free(r.credits);
    db_rows_free(r.keys);
    return s;
}

enum status feed_tenants(struct feed *p, const struct limit_catalogue *c, const char *only, feed_tenant_fn *fn,
                         void *arg)
{
    char after[LIMIT_TENANT_SIZE] = "";
    size_t n;
    enum status s;

    do
        s = some_tenants(p, c, only, after, TENANTS_A_PAGE, fn, arg, &n);
    while (s == STATUS_OK && n == TENANTS_A_PAGE);
    return s == STATUS_OK && only && n == 0 ? STATUS_NOT_FOUND : s;
}

enum status feed_tenants_after(struct feed *p, const struct limit_catalogue *c, char after[LIMIT_TENANT_SIZE], int most,
                               feed_tenant_fn *fn, void *arg, bool *more)
{
    size_t n;
    enum status s = some_tenants(p, c, NULL, after, most, fn, arg, &n);

    if (s == STATUS_OK)
        *more = n == (size_t)most;
    return s;
}

/* ---- counts ---- */

static enum status each_count(const struct db_rows *rows, feed_count_fn *fn, void *arg)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        struct feed_count c = {.tenant = db_text(rows, i, 0),
                               .metric = db_text(rows, i, 1),
                               .window = feed_window(db_text(rows, i, 2)),
                               .start_us = db_int(rows, i, 3),
                               .end_us = db_int(rows, i, 4),
                               .used = db_int(rows, i, 5)};

        s = fn(arg, &c);
    }
    return s;
}

static enum status counts_of_page(struct feed *p, const struct page *page, feed_count_fn *fn, void *arg)
{
    static const char sql[] =
        "SELECT tenant_id, metric_type, limit_window, starts, ends, used FROM tollgate.feed_counts($1, $2, $3::bigint)";
    struct db_rows *rows;
    enum status s = read_page(p, sql, page, &rows);

    if (s != STATUS_OK)
        return s;
    s = each_count(rows, fn, arg);
    db_rows_free(rows);
    return s;
}

/* Moves `after` behind the page; *last: no other follows. */
static enum status next_page(struct feed *p, const struct page *page, char after[LIMIT_TENANT_SIZE], bool *last)
{
    static const char sql[] = "SELECT max(tenant_id), count(*) FROM tollgate.feed_page($1, $2, $3::bigint)";
    struct db_rows *rows;
    enum status s = read_page(p, sql, page, &rows);

    if (s != STATUS_OK)
        return s;
    *last = db_int(rows, 0, 1) < page->most;
    snprintf(after, LIMIT_TENANT_SIZE, "%s", db_text(rows, 0, 0));
    db_rows_free(rows);
    return s;
}

enum status feed_counts(struct feed *p, const char *only, feed_count_fn *fn, void *arg)
{
    char after[LIMIT_TENANT_SIZE] = "";
    const struct page page = {only, after, TENANTS_A_PAGE};
    bool last = only;
    enum status s;

    do {
        s = counts_of_page(p, &page, fn, arg);
        if (s == STATUS_OK && !only)
            s = next_page(p, &page, after, &last);
    } while (s == STATUS_OK && !last);
    return s;
}

enum status feed_counts_since(struct feed *p, const char *cursor, feed_count_fn *fn, void *arg)
{
    static const char sql[] =
        "SELECT tenant_id, metric_type, limit_window, starts_us, ends_us, used FROM tollgate.table_counts "
        "WHERE (limit_window IN ('hour', 'day') OR metric_type = ANY (ARRAY("
        "SELECT m.metric_type FROM tollgate.usage_metrics m WHERE m.kind = 'observed'))) AND " FEED_NEW;
    struct db_rows *rows;
    enum status s = db_query(p->db, sql, DB_WITH(cursor), &rows);

    if (s != STATUS_OK)
        return s;
    s = each_count(rows, fn, arg);
    db_rows_free(rows);
    return s;
}
