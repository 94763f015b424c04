/* ingest.c: a batch of spooled events into PostgreSQL, and the collector's other statements */
#include "lib/store/ingest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/buffer.h"
#include "lib/base/clock.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/db.h"

#define COPY_BYTES (128u << 20)
#define QUARTER_US (INT64_C(900) * CLOCK_US_PER_SECOND)
#define TURN_TENANTS "200"
#define BYTEA_TOKEN_SIZE 35 /* \x and 16 bytes in hexadecimal, with the NUL */

struct ingest {
    struct db *db;
    struct ingest_options options;
    char node[SPOOL_NODE_TEXT];
    struct buffer copy, a, b, c;
    unsigned char record[EVENT_MAX_BYTES];
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
    if ((s = db_open(o->conninfo, "tollgate-collector", &in->db)) != STATUS_OK) {
        ingest_close(in);
        return s;
    }
    db_timeouts(in->db, o->connect_timeout_s, o->statement_timeout_s);
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
    for (size_t i = 0; i < r->n_measure; i++)
        free(r->measure[i]);
    free(r->totals);
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
    return s;
}

static void hex(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static const char *token_text(const unsigned char *token, char out[BYTEA_TOKEN_SIZE])
{
    if (!token)
        return NULL;
    memcpy(out, "\\x", 2);
    hex(out + 2, token, 16);
    return out;
}

enum status ingest_take_node(struct ingest *in, const unsigned char held[16], const unsigned char *pending,
                             const unsigned char next[16], const char *host, bool take_over, char where[256])
{
    static const char find[] = "SELECT host, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), "
                               "token = $2::bytea OR token = $3::bytea OR token = '\\x' OR $4::boolean "
                               "FROM public.collector_nodes WHERE node = $1::uuid FOR UPDATE";
    static const char put[] = "INSERT INTO public.collector_nodes (node, token, host) VALUES ($1::uuid, $2::bytea, $3) "
                              "ON CONFLICT (node) DO UPDATE SET token = excluded.token, host = excluded.host, "
                              "started_at = now(), seen_at = now()";
    char a[BYTEA_TOKEN_SIZE], b[BYTEA_TOKEN_SIZE], c[BYTEA_TOKEN_SIZE];
    const char *look[] = {in->node, token_text(held, a), token_text(pending, b), take_over ? "true" : "false"};
    const char *params[] = {in->node, token_text(next, c), host};
    struct db_rows *rows = NULL;
    enum status s = db_begin(in->db, NULL);

    where[0] = '\0';
    if (s != STATUS_OK)
        return s;
    if ((s = db_query(in->db, find, 4, look, &rows)) == STATUS_OK) {
        if (db_count(rows) > 0 && !db_bool(rows, 0, 2)) {
            snprintf(where, 256, "on %s, %s", db_text(rows, 0, 0)[0] ? db_text(rows, 0, 0) : "an unnamed host",
                     db_text(rows, 0, 1));
            s = STATUS_CONFLICT;
        }
        db_rows_free(rows);
    }
    if (s == STATUS_OK)
        s = db_query(in->db, put, 3, params, NULL);
    return finish(in, s, NULL);
}

enum status ingest_progress(struct ingest *in, struct ingest_position *segments, size_t n)
{
    static const char sql[] =
        "SELECT s.place - 1, p.position FROM unnest($2::bigint[]) WITH ORDINALITY AS s (segment, place) "
        "JOIN public.collector_progress p ON p.node = $1::uuid AND p.segment = s.segment";
    struct db_rows *rows;
    enum status s;

    buffer_clear(&in->a);
    buffer_text(&in->a, "{");
    for (size_t i = 0; i < n; i++)
        buffer_format(&in->a, "%s%" PRId64, i ? "," : "", (int64_t)segments[i].segment);
    buffer_text(&in->a, "}");
    if (in->a.failed)
        return STATUS_NO_MEMORY;
    if ((s = db_begin(in->db, NULL)) != STATUS_OK)
        return s;
    s = db_query(in->db, sql, 2, (const char *[]){in->node, in->a.data}, &rows);
    if (s == STATUS_OK) {
        for (size_t i = 0; i < n; i++)
            segments[i].position = 0;
        for (size_t i = 0; i < db_count(rows); i++)
            segments[db_int(rows, i, 0)].position = (uint64_t)db_int(rows, i, 1);
        db_rows_free(rows);
    }
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
    uint64_t u = v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;

    buffer_format(b, "%s%" PRIu64 ".%06" PRIu64 "\t", v < 0 ? "-" : "", u / EVENT_MILLION, u % EVENT_MILLION);
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
    if (!b->failed)
        b->data[b->length - 1] = '\n';
}

static enum status open_staging(struct ingest *in)
{
    return db_query(in->db, "SELECT tollgate.batch_open()", 0, NULL, NULL);
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
    if ((s = db_copy_start(in->db, "COPY pg_temp.batch FROM STDIN")) != STATUS_OK)
        return s;
    s = db_copy_put(in->db, in->copy.data, in->copy.length);
    return s == STATUS_OK ? db_copy_end(in->db) : s;
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
        "INSERT INTO public.usage_rejected (tenant_id, node, segment, position, reason, metric_type, recorded_at, "
        "record) VALUES ($1, $2::uuid, $3::bigint, $4::bigint, $5, $6, to_timestamp($7::numeric / 1000000), "
        "decode($8, 'hex'))";
    char tenant[EVENT_TENANT_MAX + 1], metric[EVENT_METRIC_MAX + 1], segment[24], position[24], recorded[24];
    bool in_range = e->event.recorded_us > -CLOCK_US_PER_SECOND * INT64_C(62000000000) &&
                    e->event.recorded_us < CLOCK_US_PER_SECOND * INT64_C(200000000000);
    const char *params[] = {tenant, in->node, segment, position, reason, metric, in_range ? recorded : NULL, NULL};
    size_t length = 0;
    enum status s;

    printable(tenant, sizeof(tenant), e->event.tenant);
    printable(metric, sizeof(metric), e->event.metric);
    snprintf(segment, sizeof(segment), "%" PRId64, (int64_t)e->segment);
    snprintf(position, sizeof(position), "%" PRId64, (int64_t)e->position);
    snprintf(recorded, sizeof(recorded), "%" PRId64, e->event.recorded_us);
    s = event_encode(&e->event, spool_seed(in->options.node, e->segment), in->record, sizeof(in->record), &length);
    if (s != STATUS_OK)
        return s;
    buffer_clear(&in->a);
    for (size_t i = 0; i < length; i++)
        buffer_format(&in->a, "%02x", in->record[i]);
    if (in->a.failed)
        return STATUS_NO_MEMORY;
    params[7] = in->a.data;
    return db_query(in->db, sql, 8, params, NULL);
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
    static const char sql[] = "INSERT INTO public.spool_damage (node, segment, from_position, to_position) "
                              "VALUES ($1::uuid, $2::bigint, $3::bigint, $4::bigint) ON CONFLICT DO NOTHING";
    char segment[24], from[24], to[24];
    const char *params[] = {in->node, segment, from, to};
    enum status s = STATUS_OK;

    for (size_t i = 0; i < batch->n_damage && s == STATUS_OK; i++) {
        snprintf(segment, sizeof(segment), "%" PRId64, (int64_t)batch->damage[i].segment);
        snprintf(from, sizeof(from), "%" PRId64, (int64_t)batch->damage[i].from);
        snprintf(to, sizeof(to), "%" PRId64, (int64_t)batch->damage[i].to);
        s = db_query(in->db, sql, 4, params, NULL);
    }
    return s;
}

/* ---- running tollgate.ingest and reading what it says ---- */

/* "12.345678" in millionths; further places are cut. */
static int64_t millionths(const char *text)
{
    bool negative = *text == '-';
    int64_t v = 0;
    int places = -1;

    for (text += negative; *text && places < 6; text++) {
        if (*text == '.') {
            places = 0;
        } else if (*text >= '0' && *text <= '9') {
            v = v * 10 + (*text - '0');
            places += places >= 0;
        }
    }
    for (places = places < 0 ? 0 : places; places < 6; places++)
        v *= 10;
    return negative ? -v : v;
}

static enum status add_total(struct ingest_result *result, const struct db_rows *rows, size_t row)
{
    struct ingest_total *t = &result->totals[result->n_totals];

    *t = (struct ingest_total){.tenant = strdup(db_text(rows, row, 3)),
                               .metric = strdup(db_text(rows, row, 4)),
                               .day_us = db_int(rows, row, 5),
                               .used = millionths(db_text(rows, row, 6)),
                               .added = millionths(db_text(rows, row, 7)),
                               .uncounted = millionths(db_text(rows, row, 8))};
    result->n_totals++;
    return t->tenant && t->metric ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_result(struct ingest *in, const struct ingest_batch *batch, const struct db_rows *rows,
                               struct ingest_result *result)
{
    enum status s = STATUS_OK;

    result->totals = calloc(db_count(rows) + 1, sizeof(*result->totals));
    if (!result->totals)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        switch (db_text(rows, i, 0)[0]) {
        case 't':
            s = add_total(result, rows, i);
            break;
        case 'b':
            result->stored = (uint64_t)db_int(rows, i, 6);
            result->duplicates = (uint64_t)db_int(rows, i, 7);
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
    char token[BYTEA_TOKEN_SIZE], most[16];
    struct db_rows *rows;
    enum status s;

    buffer_clear(&in->a);
    buffer_clear(&in->b);
    buffer_clear(&in->c);
    buffer_text(&in->a, "{");
    buffer_text(&in->b, "{");
    buffer_text(&in->c, "{");
    for (size_t i = 0; batch && i < batch->n_spans; i++) {
        buffer_format(&in->a, "%s%" PRId64, i ? "," : "", (int64_t)batch->spans[i].segment);
        buffer_format(&in->b, "%s%" PRId64, i ? "," : "", (int64_t)batch->spans[i].from);
        buffer_format(&in->c, "%s%" PRId64, i ? "," : "", (int64_t)batch->spans[i].to);
    }
    buffer_text(&in->a, "}");
    buffer_text(&in->b, "}");
    buffer_text(&in->c, "}");
    if (in->a.failed || in->b.failed || in->c.failed)
        return STATUS_NO_MEMORY;
    snprintf(most, sizeof(most), "%d", in->options.endpoints_max);
    s = db_query(
        in->db, sql, 6,
        (const char *[]){in->node, token_text(in->options.token, token), in->a.data, in->b.data, in->c.data, most},
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

enum status ingest_store(struct ingest *in, const struct ingest_batch *batch, struct ingest_result *result)
{
    enum status s;

    memset(result, 0, sizeof(*result));
    if ((s = db_begin(in->db, NULL)) != STATUS_OK)
        return s;
    s = copy_batch(in, batch);
    if (s == STATUS_OK)
        s = run_ingest(in, batch, result);
    if (s == STATUS_OK)
        s = store_rejects(in, batch, result);
    if (s == STATUS_OK)
        s = store_damage(in, batch);
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
    static const char any[] =
        "SELECT EXISTS (SELECT FROM public.usage_changes) OR EXISTS (SELECT FROM public.enforce_shares WHERE changed)";
    char most[16];
    struct db_rows *rows;
    bool found;
    enum status s = db_look(in->db, any, 0, NULL, &rows);

    memset(result, 0, sizeof(*result));
    if (s != STATUS_OK)
        return s;
    found = db_bool(rows, 0, 0); /* looked at outside of a transaction: most of the time there is nothing */
    db_rows_free(rows);
    if (!found || (s = db_begin(in->db, NULL)) != STATUS_OK)
        return s;
    snprintf(most, sizeof(most), "%d", max);
    if ((s = open_staging(in)) == STATUS_OK)
        s = db_query(in->db, "SELECT * FROM tollgate.ingest_changes($1::integer)", 1, (const char *[]){most}, &rows);
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

enum status ingest_degraded(struct ingest *in, const struct ingest_degraded *list, size_t n,
                            struct ingest_result *result)
{
    static const char sql[] = "SELECT tollgate.ingest_degraded($1::uuid, $2::text[], $3::text[], $4::numeric[])";
    struct db_rows *rows;
    bool found = false;
    enum status s;

    memset(result, 0, sizeof(*result));
    if (n == 0)
        return STATUS_OK;
    if ((s = db_begin(in->db, NULL)) != STATUS_OK)
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
        s = db_query(in->db, sql, 4, (const char *[]){in->node, in->a.data, in->b.data, in->c.data}, &rows);
    if (s == STATUS_OK) {
        found = db_int(rows, 0, 0) > 0;
        db_rows_free(rows);
    }
    if (s == STATUS_OK && found)
        s = run_ingest(in, NULL, result);
    return finish(in, mapped(in, s), &result->unsure);
}

/* ---- short transactions of one statement ---- */

static enum status run(struct ingest *in, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    enum status s = db_begin(in->db, NULL);
    struct db_rows *got = NULL;

    if (s != STATUS_OK)
        return s;
    s = finish(in, db_query(in->db, sql, n, params, &got), NULL);
    if (s == STATUS_OK && rows)
        *rows = got;
    else if (got)
        db_rows_free(got);
    return s;
}

enum status ingest_degraded_forget(struct ingest *in)
{
    return run(in, "DELETE FROM public.collector_degraded WHERE node = $1::uuid", 1, (const char *[]){in->node}, NULL);
}

enum status ingest_turn_days(struct ingest *in, char after[256])
{
    struct db_rows *rows = NULL;
    enum status s = run(in, "SELECT tollgate.turn_days($1, " TURN_TENANTS ")", 1, (const char *[]){after}, &rows);

    if (s != STATUS_OK)
        return s;
    snprintf(after, 256, "%s", db_null(rows, 0, 0) ? "" : db_text(rows, 0, 0));
    db_rows_free(rows);
    return STATUS_OK;
}

enum status ingest_chores(struct ingest *in, int partitions_ahead, int retention_months, int64_t session_absolute_s)
{
    char ahead[16], months[16], absolute[24];
    enum status s;

    snprintf(ahead, sizeof(ahead), "%d", partitions_ahead);
    snprintf(months, sizeof(months), "%d", retention_months);
    snprintf(absolute, sizeof(absolute), "%" PRId64, session_absolute_s);
    s = run(
        in,
        "SELECT tollgate.ensure_partitions(now() - interval '1 month', now() + make_interval(months => $1::integer))",
        1, (const char *[]){ahead}, NULL);
    if (s == STATUS_OK)
        s = run(in, "SELECT tollgate.drop_partitions($1::integer)", 1, (const char *[]){months}, NULL);
    if (s == STATUS_OK)
        s = run(in, "DELETE FROM public.usage_event_ids WHERE accepted_at < now() - interval '36 days'", 0, NULL, NULL);
    if (s == STATUS_OK)
        s = run(in, "DELETE FROM public.config_changes WHERE made_at < now() - interval '1 day'", 0, NULL, NULL);
    if (s == STATUS_OK)
        s = run(in, "DELETE FROM public.limit_leases WHERE starts_at < now() - interval '40 days'", 0, NULL, NULL);
    if (s == STATUS_OK)
        s = run(in, "DELETE FROM public.account_sessions WHERE created_at < now() - make_interval(secs => $1::bigint)",
                1, (const char *[]){absolute}, NULL);
    if (s == STATUS_OK)
        s = run(in, "DELETE FROM public.signin_failures WHERE failed_at < now() - interval '2 days'", 0, NULL, NULL);
    if (s == STATUS_OK)
        s = run(in, "SELECT tollgate.prune_node_samples()", 0, NULL, NULL);
    return s;
}

enum status ingest_expire_limits(struct ingest *in)
{
    return run(in, "SELECT tollgate.expire_limits()", 0, NULL, NULL);
}

enum status ingest_attach_new(struct ingest *in, char left_out[256])
{
    struct db_rows *got = NULL;
    enum status s = run(in, "SELECT tollgate.attach_new(50)", 0, NULL, &got);

    left_out[0] = '\0';
    if (s == STATUS_OK && !db_null(got, 0, 0))
        snprintf(left_out, 256, "%s", db_text(got, 0, 0));
    db_rows_free(got);
    return s;
}

enum status ingest_report(struct ingest *in, uint64_t lag_events, double lag_seconds, uint64_t spool_bytes)
{
    char events[24], seconds[40], bytes[24];

    snprintf(events, sizeof(events), "%" PRIu64, lag_events);
    snprintf(seconds, sizeof(seconds), "%.3f", lag_seconds);
    snprintf(bytes, sizeof(bytes), "%" PRIu64, spool_bytes);
    return run(in,
               "UPDATE public.collector_nodes SET seen_at = now(), lag_events = $2::bigint, lag_seconds = $3::float8, "
               "spool_bytes = $4::bigint WHERE node = $1::uuid",
               4, (const char *[]){in->node, events, seconds, bytes}, NULL);
}

void ingest_places_free(struct ingest_place *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].tenant);
        free(list[i].path);
    }
    free(list);
}

static enum status read_places(struct db_rows *rows, struct ingest_place **list, size_t *n)
{
    size_t count = db_count(rows);
    struct ingest_place *places = calloc(count + 1, sizeof(*places));
    enum status s = places ? STATUS_OK : STATUS_NO_MEMORY;

    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        places[i].tenant = strdup(db_text(rows, i, 0));
        places[i].path = strdup(db_text(rows, i, 1));
        if (!places[i].tenant || !places[i].path)
            s = STATUS_NO_MEMORY;
    }
    db_rows_free(rows);
    if (s != STATUS_OK) {
        if (places)
            ingest_places_free(places, count);
        return s;
    }
    *list = places;
    *n = count;
    return STATUS_OK;
}

enum status ingest_places(struct ingest *in, const char *after, int max, struct ingest_place **list, size_t *n)
{
    static const char sql[] =
        "SELECT tenant_id, coalesce(storage_path, tenant_id) FROM public.tenant_settings WHERE tenant_id > $1 "
        "ORDER BY tenant_id LIMIT $2::integer";
    char most[16];
    struct db_rows *rows;
    enum status s;

    snprintf(most, sizeof(most), "%d", max);
    s = run(in, sql, 2, (const char *[]){after, most}, &rows);
    return s == STATUS_OK ? read_places(rows, list, n) : s;
}

enum status ingest_place_of(struct ingest *in, const char *tenant, struct ingest_place **list, size_t *n)
{
    static const char sql[] =
        "SELECT tenant_id, coalesce(storage_path, tenant_id) FROM public.tenant_settings WHERE tenant_id = $1";
    struct db_rows *rows;
    enum status s = run(in, sql, 1, (const char *[]){tenant}, &rows);

    if (s == STATUS_OK)
        s = read_places(rows, list, n);
    if (s == STATUS_OK && *n == 0) {
        ingest_places_free(*list, 0);
        s = STATUS_NOT_FOUND;
    }
    return s;
}

enum status ingest_put_storage(struct ingest *in, const char *tenant, int64_t bytes)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, bytes);
    return run(in, "SELECT tollgate.put_storage($1, $2::bigint)", 2, (const char *[]){tenant, text}, NULL);
}
