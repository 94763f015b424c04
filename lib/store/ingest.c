/* ingest.c: a batch of spooled events into PostgreSQL, in one transaction */
#include "lib/store/ingest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/buffer.h"
#include "lib/base/clock.h"
#include "lib/base/decimal.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/feed.h"
#include "lib/store/db.h"
#include "lib/store/history.h"
#include "lib/store/node.h"
#include "lib/store/schema_version.h"

#define COPY_BYTES (128u << 20)
#define QUARTER_US (INT64_C(900) * CLOCK_US_PER_SECOND)

struct ingest {
    struct db *db;
    struct ingest_options options;
    char node[SPOOL_NODE_TEXT];
    struct buffer copy, a, b, c;
    unsigned char record[EVENT_MAX_BYTES];
    const struct ingest_batch *replay; /* whose events were rejected before; NULL */
    bool *stays;                       /* of each of them: it is rejected again */
    int64_t before, number; /* the node's commits before this transaction, and with it; number 0: it does not count */
};

enum status ingest_open(const struct ingest_options *o, struct ingest **out)
{
    struct ingest *in = calloc(1, sizeof(*in));
    struct spool_node node;
    enum status s = STATUS_NO_MEMORY;

    if (!in)
        return s;
    in->options = *o;
    memset(&node, 0, sizeof(node));
    memcpy(node.uuid, o->node, sizeof(node.uuid));
    spool_node_text(&node, in->node);
    buffer_init(&in->copy, COPY_BYTES);
    buffer_init(&in->a, COPY_BYTES);
    buffer_init(&in->b, COPY_BYTES);
    buffer_init(&in->c, COPY_BYTES);
    if ((s = db_open(o->conninfo, o->name ? o->name : "tollgate", &in->db)) != STATUS_OK) {
        ingest_close(in);
        return s;
    }
    schema_version_hold(in->db);
    db_timeouts(in->db, o->connect_timeout_s, o->statement_timeout_s);
    if (o->view)
        db_on_connect(in->db, history_check, o->view);
    *out = in;
    return STATUS_OK;
}

void ingest_close(struct ingest *in)
{
    if (!in)
        return;
    db_close(in->db);
    buffer_term(&in->copy);
    buffer_term(&in->a);
    buffer_term(&in->b);
    buffer_term(&in->c);
    free(in);
}

struct db *ingest_db(struct ingest *in)
{
    return in->db;
}

const char *ingest_error(const struct ingest *in)
{
    return db_error(in->db);
}

void ingest_result_free(struct ingest_result *r)
{
    for (size_t i = 0; i < r->n_totals; i++) {
        free(r->totals[i].tenant);
        free(r->totals[i].metric);
    }
    for (size_t i = 0; i < r->n_levels; i++) {
        free(r->levels[i].tenant);
        free(r->levels[i].metric);
    }
    for (size_t i = 0; i < r->n_measure; i++)
        free(r->measure[i]);
    free(r->totals);
    free(r->levels);
    free(r->measure);
    memset(r, 0, sizeof(*r));
}

/* Commits when `s` is fine, else rolls back. */
static enum status finish(struct ingest *in, enum status s, bool *unsure)
{
    if (s != STATUS_OK) {
        db_rollback(in->db);
        return s;
    }
    s = db_commit(in->db);
    if (unsure)
        *unsure = s == STATUS_UNAVAILABLE;
    if (s == STATUS_OK && in->number)
        history_committed(in->options.view, in->before, in->number);
    return s;
}

static enum status begin(struct ingest *in)
{
    in->number = 0;
    in->before = history_commits(in->options.view);
    return db_begin(in->db, NULL);
}

/* An array of bigint: its numbers, then its end. */
static void put_number(struct buffer *b, size_t i, uint64_t v)
{
    buffer_format(b, "%s%" PRId64, i ? "," : "{", (int64_t)v);
}

static void end_numbers(struct buffer *b)
{
    buffer_text(b, b->length ? "}" : "{}");
}

enum status ingest_progress(struct ingest *in, struct ingest_position *segments, size_t n)
{
    static const char sql[] = "SELECT s.place - 1, tollgate.segment_position($1::uuid, s.segment) "
                              "FROM unnest($2::bigint[]) WITH ORDINALITY AS s (segment, place)";
    struct db_rows *rows;
    enum status s;

    buffer_clear(&in->a);
    for (size_t i = 0; i < n; i++)
        put_number(&in->a, i, segments[i].segment);
    end_numbers(&in->a);
    if (in->a.failed)
        return STATUS_NO_MEMORY;
    if ((s = begin(in)) != STATUS_OK)
        return s;
    s = db_query(in->db, sql, DB_WITH(in->node, in->a.data), &rows);
    if (s == STATUS_OK) {
        for (size_t i = 0; i < db_count(rows); i++)
            segments[db_int(rows, i, 0)].position = (uint64_t)db_int(rows, i, 1);
        db_rows_free(rows);
    }
    return finish(in, s, NULL);
}

enum status ingest_settle(struct ingest *in, uint64_t below, const uint64_t *settled, size_t n_settled,
                          const uint64_t *open, size_t n_open)
{
    static const char sql[] =
        "SELECT tollgate.settle_segments($1::uuid, $2::bytea, $3::bigint, $4::bigint[], $5::bigint[])";
    char token[NODE_TOKEN_TEXT];
    enum status s;

    buffer_clear(&in->a);
    buffer_clear(&in->b);
    for (size_t i = 0; i < n_settled; i++)
        put_number(&in->a, i, settled[i]);
    for (size_t i = 0; i < n_open; i++)
        put_number(&in->b, i, open[i]);
    end_numbers(&in->a);
    end_numbers(&in->b);
    if (in->a.failed || in->b.failed)
        return STATUS_NO_MEMORY;
    if ((s = begin(in)) != STATUS_OK)
        return s;
    s = db_get_int(
        db_query, in->db, sql,
        DB_WITH(in->node, node_token_text(in->options.token, token), DB_INT((int64_t)below), in->a.data, in->b.data),
        &in->number);
    return finish(in, s, NULL);
}

/* ---- the staging table ---- */

static void put_text(struct buffer *b, struct text t)
{
    size_t from = 0;

    for (size_t i = 0; i < t.length; i++) {
        const char *escape = NULL;

        switch (t.at[i]) {
        case '\\':
            escape = "\\\\";
            break;
        case '\t':
            escape = "\\t";
            break;
        case '\n':
            escape = "\\n";
            break;
        case '\r':
            escape = "\\r";
            break;
        default:
            continue;
        }
        buffer_add(b, t.at + from, i - from);
        buffer_text(b, escape);
        from = i + 1;
    }
    buffer_add(b, t.at + from, t.length - from);
    buffer_add(b, "\t", 1);
}

static void put_time(struct buffer *b, int64_t us)
{
    int64_t rest = us % CLOCK_US_PER_SECOND;
    time_t seconds;
    struct tm tm;

    if (rest < 0)
        rest += CLOCK_US_PER_SECOND;
    seconds = (time_t)((us - rest) / CLOCK_US_PER_SECOND);
    gmtime_r(&seconds, &tm);
    buffer_format(b, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00\t", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                  tm.tm_hour, tm.tm_min, tm.tm_sec, (int)rest);
}

static void put_millionths(struct buffer *b, int64_t v)
{
    char text[DECIMAL_SIZE];

    buffer_text(b, decimal_text(v, text));
    buffer_add(b, "\t", 1);
}

static void put_event(struct buffer *b, size_t ordinal, const struct ingest_event *e)
{
    const struct event *v = &e->event;

    buffer_format(b, "%zu\t", ordinal);
    put_text(b, v->tenant);
    put_text(b, v->metric);
    put_millionths(b, v->value);
    put_time(b, v->recorded_us);
    put_time(b, v->appended_us);
    put_time(b, v->recorded_us - v->recorded_us % QUARTER_US);
    put_text(b, v->source);
    put_text(b, v->id);
    put_text(b, e->method);
    put_text(b, e->endpoint);
    put_text(b, e->key);
    buffer_text(b, e->uncounted ? "t\t" : "f\t");
    put_text(b, v->metadata.length ? v->metadata : (struct text){"{}", 2});
    buffer_text(b, v->flags & EVENT_DELTA ? "t\t" : "f\t");
    if (!b->failed)
        b->data[b->length - 1] = '\n';
}

static enum status open_staging(struct ingest *in)
{
    return db_query(in->db, "SELECT tollgate.batch_open()", DB_NOTHING, NULL);
}

static enum status copy_batch(struct ingest *in, const struct ingest_batch *batch)
{
    enum status s = open_staging(in);
    size_t n = 0;

    if (s != STATUS_OK)
        return s;
    buffer_clear(&in->copy);
    for (size_t i = 0; i < batch->n_events; i++)
        if (!batch->events[i].reject) {
            put_event(&in->copy, i, &batch->events[i]);
            n++;
        }
    if (in->copy.failed)
        return STATUS_NO_MEMORY;
    if (n == 0)
        return STATUS_OK;
    return db_copy(in->db, "COPY pg_temp.batch FROM STDIN", in->copy.data, in->copy.length);
}

/* ---- what could not be stored ---- */

/* Text that PostgreSQL takes whatever the bytes are: beyond printable ASCII becomes '?'. */
static void printable(char *out, size_t size, struct text t)
{
    size_t n = t.length < size - 1 ? t.length : size - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = t.at[i] >= ' ' && t.at[i] <= '~' ? t.at[i] : '?';
    out[n] = '\0';
}

static enum status store_rejected(struct ingest *in, const struct ingest_event *e, const char *reason)
{
    static const char sql[] =
        "INSERT INTO tollgate.usage_rejected (tenant_id, node, segment, position, reason, metric_type, recorded_at, "
        "record) VALUES ($1, $2::uuid, $3::bigint, $4::bigint, $5, $6, to_timestamp($7::numeric / 1000000), "
        "decode($8, 'hex'))";
    char tenant[EVENT_TENANT_MAX + 1], metric[EVENT_METRIC_MAX + 1];
    bool in_range = e->event.recorded_us > -CLOCK_US_PER_SECOND * INT64_C(62000000000) &&
                    e->event.recorded_us < CLOCK_US_PER_SECOND * INT64_C(200000000000);
    size_t length = 0;
    enum status s;

    if (in->replay) {
        in->stays[e - in->replay->events] = true;
        return STATUS_OK;
    }
    printable(tenant, sizeof(tenant), e->event.tenant);
    printable(metric, sizeof(metric), e->event.metric);
    s = event_encode(&e->event, spool_seed(in->options.node, e->segment), in->record, sizeof(in->record), &length);
    if (s != STATUS_OK)
        return s;
    buffer_clear(&in->a);
    for (size_t i = 0; i < length; i++)
        buffer_format(&in->a, "%02x", in->record[i]);
    if (in->a.failed)
        return STATUS_NO_MEMORY;
    return db_query(in->db, sql,
                    DB_WITH(tenant, in->node, DB_INT((int64_t)e->segment), DB_INT((int64_t)e->position), reason, metric,
                            in_range ? DB_INT(e->event.recorded_us) : NULL, in->a.data),
                    NULL);
}

static enum status store_rejects(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < batch->n_events && s == STATUS_OK; i++)
        if (batch->events[i].reject) {
            s = store_rejected(in, &batch->events[i], batch->events[i].reject);
            result->rejected++;
        }
    return s;
}

static enum status store_damage(struct ingest *in, const struct ingest_batch *batch)
{
    static const char sql[] = "INSERT INTO tollgate.spool_damage (node, segment, from_position, to_position) "
                              "VALUES ($1::uuid, $2::bigint, $3::bigint, $4::bigint) ON CONFLICT DO NOTHING";
    enum status s = STATUS_OK;

    for (size_t i = 0; i < batch->n_damage && s == STATUS_OK; i++)
        s = db_query(in->db, sql,
                     DB_WITH(in->node, DB_INT((int64_t)batch->damage[i].segment),
                             DB_INT((int64_t)batch->damage[i].from), DB_INT((int64_t)batch->damage[i].to)),
                     NULL);
    return s;
}

/* ---- running tollgate.ingest and reading what it says ---- */

static enum status add_total(struct ingest_result *result, const struct db_rows *rows, size_t row)
{
    struct ingest_total *t = &result->totals[result->n_totals];

    *t = (struct ingest_total){.tenant = strdup(db_text(rows, row, 3)),
                               .metric = strdup(db_text(rows, row, 4)),
                               .window = feed_window(db_text(rows, row, 2)),
                               .start_us = db_int(rows, row, 5),
                               .used = decimal_saturated(db_text(rows, row, 6)),
                               .added = decimal_saturated(db_text(rows, row, 7)),
                               .uncounted = decimal_saturated(db_text(rows, row, 8))};
    result->n_totals++;
    return t->tenant && t->metric ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status add_level(struct ingest_result *result, const struct db_rows *rows, size_t row)
{
    struct ingest_level *l = &result->levels[result->n_levels];

    *l = (struct ingest_level){.tenant = strdup(db_text(rows, row, 3)),
                               .metric = strdup(db_text(rows, row, 4)),
                               .level = {.level = decimal_saturated(db_text(rows, row, 6)),
                                         .recorded_us = db_int(rows, row, 5),
                                         .set_us = db_int(rows, row, 7)},
                               .until_us = db_int(rows, row, 8)};
    result->n_levels++;
    return l->tenant && l->metric ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_result(struct ingest *in, const struct ingest_batch *batch, const struct db_rows *rows,
                               struct ingest_result *result)
{
    enum status s = STATUS_OK;

    result->totals = calloc(db_count(rows) + 1, sizeof(*result->totals));
    result->levels = calloc(db_count(rows) + 1, sizeof(*result->levels));
    if (!result->totals || !result->levels)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        switch (db_text(rows, i, 0)[0]) {
        case 't':
            s = add_total(result, rows, i);
            break;
        case 'l':
            s = add_level(result, rows, i);
            break;
        case 'b':
            result->stored = (uint64_t)db_int(rows, i, 6);
            result->duplicates = (uint64_t)db_int(rows, i, 7);
            in->number = db_int(rows, i, 5);
            break;
        default:
            if (!batch || (size_t)db_int(rows, i, 1) >= batch->n_events)
                break;
            s = store_rejected(in, &batch->events[db_int(rows, i, 1)], db_text(rows, i, 2));
            result->rejected++;
        }
    }
    return s;
}

/* What stands in the staging table, and the positions of `batch` (NULL: none). */
static enum status run_ingest(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result)
{
    static const char sql[] =
        "SELECT * FROM tollgate.ingest($1::uuid, $2::bytea, $3::bigint[], $4::bigint[], $5::bigint[], "
        "$6::integer)";
    char token[NODE_TOKEN_TEXT];
    struct db_rows *rows;
    enum status s;

    buffer_clear(&in->a);
    buffer_clear(&in->b);
    buffer_clear(&in->c);
    for (size_t i = 0; batch && i < batch->n_spans; i++) {
        put_number(&in->a, i, batch->spans[i].segment);
        put_number(&in->b, i, batch->spans[i].from);
        put_number(&in->c, i, batch->spans[i].to);
    }
    end_numbers(&in->a);
    end_numbers(&in->b);
    end_numbers(&in->c);
    if (in->a.failed || in->b.failed || in->c.failed)
        return STATUS_NO_MEMORY;
    s = db_query(in->db, sql,
                 DB_WITH(in->node, node_token_text(in->options.token, token), in->a.data, in->b.data, in->c.data,
                         DB_INT(in->options.endpoints_max)),
                 &rows);
    if (s == STATUS_OK) {
        s = read_result(in, batch, rows, result);
        db_rows_free(rows);
    }
    return s;
}

/* A tenant that was deleted meanwhile is found by the next try; nothing is wrong with the batch. */
static enum status mapped(const struct ingest *in, enum status s)
{
    return s == STATUS_INVALID && strcmp(db_sqlstate(in->db), "23503") == 0 ? STATUS_CONFLICT : s;
}

/* The rows of events that were rejected before, held until the end. STATUS_CONFLICT: somebody else took one of them. */
static enum status hold_replayed(struct ingest *in, const struct ingest_batch *batch)
{
    static const char sql[] = "SELECT count(*) FROM (SELECT FROM tollgate.usage_rejected WHERE id = ANY ($1::bigint[]) "
                              "ORDER BY tenant_id, id FOR UPDATE) held";
    int64_t held;
    enum status s;

    buffer_clear(&in->a);
    for (size_t i = 0; i < batch->n_events; i++)
        put_number(&in->a, i, (uint64_t)batch->replayed[i]);
    end_numbers(&in->a);
    if (in->a.failed || !(in->stays = calloc(batch->n_events + 1, sizeof(*in->stays))))
        return STATUS_NO_MEMORY;
    in->replay = batch;
    s = db_get_int(db_query, in->db, sql, DB_WITH(in->a.data), &held);
    return s == STATUS_OK && (size_t)held != batch->n_events ? STATUS_CONFLICT : s;
}

static enum status drop_replayed(struct ingest *in, const struct ingest_batch *batch)
{
    size_t n = 0;

    buffer_clear(&in->a);
    for (size_t i = 0; i < batch->n_events; i++)
        if (!in->stays[i])
            put_number(&in->a, n++, (uint64_t)batch->replayed[i]);
    end_numbers(&in->a);
    return in->a.failed ? STATUS_NO_MEMORY
                        : db_query(in->db, "DELETE FROM tollgate.usage_rejected WHERE id = ANY ($1::bigint[])",
                                   DB_WITH(in->a.data), NULL);
}

enum status ingest_store(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result)
{
    enum status s;

    memset(result, 0, sizeof(*result));
    if ((s = begin(in)) != STATUS_OK)
        return s;
    if (batch->replayed)
        s = hold_replayed(in, batch);
    if (s == STATUS_OK)
        s = copy_batch(in, batch);
    if (s == STATUS_OK)
        s = run_ingest(in, batch, result);
    if (s == STATUS_OK)
        s = store_rejects(in, batch, result);
    if (s == STATUS_OK)
        s = store_damage(in, batch);
    if (s == STATUS_OK && batch->replayed)
        s = drop_replayed(in, batch);
    free(in->stays);
    in->stays = NULL;
    in->replay = NULL;
    if (s == STATUS_OK && batch->dry_run) {
        db_rollback(in->db);
        return s;
    }
    return finish(in, mapped(in, s), &result->unsure);
}

static enum status take_measures(struct db_rows *rows, struct ingest_result *result)
{
    result->measure = calloc(db_count(rows) + 1, sizeof(*result->measure));
    if (!result->measure)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < db_count(rows); i++) {
        if (!(result->measure[i] = strdup(db_text(rows, i, 0))))
            return STATUS_NO_MEMORY;
        result->n_measure++;
    }
    return STATUS_OK;
}

enum status ingest_changes(struct ingest *in, int max, struct ingest_result *result)
{
    static const char any[] = "SELECT EXISTS (SELECT FROM tollgate.usage_changes) OR EXISTS (SELECT FROM "
                              "tollgate.enforce_shares WHERE changed)";
    struct db_rows *rows;
    bool found; /* looked at outside of a transaction: most of the time there is nothing */
    enum status s = db_get_bool(db_look, in->db, any, DB_NOTHING, &found);

    memset(result, 0, sizeof(*result));
    if (s != STATUS_OK || !found || (s = begin(in)) != STATUS_OK)
        return s;
    if ((s = open_staging(in)) == STATUS_OK)
        s = db_query(in->db, "SELECT * FROM tollgate.ingest_changes($1::integer)", DB_WITH(DB_INT(max)), &rows);
    if (s == STATUS_OK) {
        s = take_measures(rows, result);
        db_rows_free(rows);
    }
    if (s == STATUS_OK)
        s = run_ingest(in, NULL, result);
    return finish(in, mapped(in, s), &result->unsure);
}

/* An element of a text array's literal. */
static void put_element(struct buffer *b, bool first, const char *text)
{
    buffer_text(b, first ? "{\"" : ",\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buffer_add(b, "\\", 1);
        buffer_add(b, text, 1);
    }
    buffer_text(b, "\"");
}

enum status ingest_degraded(struct ingest *in, uint64_t table, const struct ingest_degraded *list, size_t n,
                            struct ingest_result *result)
{
    static const char sql[] =
        "SELECT tollgate.ingest_degraded($1::uuid, $2::bigint, $3::text[], $4::text[], $5::numeric[])";
    int64_t found = 0;
    enum status s;

    memset(result, 0, sizeof(*result));
    if (n == 0)
        return STATUS_OK;
    if ((s = begin(in)) != STATUS_OK)
        return s;
    buffer_clear(&in->a);
    buffer_clear(&in->b);
    buffer_clear(&in->c);
    for (size_t i = 0; i < n; i++) {
        put_element(&in->a, i == 0, list[i].tenant);
        put_element(&in->b, i == 0, list[i].metric);
        buffer_format(&in->c, "%s%" PRId64 ".%06" PRId64, i ? "," : "{", list[i].total / EVENT_MILLION,
                      list[i].total % EVENT_MILLION);
    }
    buffer_text(&in->a, "}");
    buffer_text(&in->b, "}");
    buffer_text(&in->c, "}");
    s = in->a.failed || in->b.failed || in->c.failed ? STATUS_NO_MEMORY : open_staging(in);
    if (s == STATUS_OK)
        s = db_get_int(db_query, in->db, sql,
                       DB_WITH(in->node, DB_INT((int64_t)table), in->a.data, in->b.data, in->c.data), &found);
    if (s == STATUS_OK && found > 0)
        s = run_ingest(in, NULL, result);
    return finish(in, mapped(in, s), &result->unsure);
}
