/* page_status.c: the operator's view of the gates: this node now, every node over a day */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/page.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/meter/latency.h"
#include "lib/store/samples.h"
#include "lib/web/node.h"

#define STEP_MINUTES 15
#define STEPS 96 /* a day of them */
#define NODES 10
#define NOW_S 60       /* "now" is at least this long */
#define BEHIND_S 5     /* older than this: the collector is behind */
#define UNHEARD_S 10   /* it writes its status twice a second */
#define UNSEEN_S 30    /* and reports to PostgreSQL every two seconds */
#define UNITS_A_BAR 10 /* of a chart's width */
#define CHART 100      /* its height */

/* What the gates did since some moment. */
struct counted {
    double seconds; /* 0: since the limit table was made */
    uint64_t let, refused;
    uint64_t latency[LIMIT_LATENCY_BUCKETS];
};

struct step {
    bool known;
    uint64_t let, refused;
    uint64_t latency[LIMIT_LATENCY_BUCKETS];
    double lag;
    int64_t spool_bytes;
};

static const struct {
    enum limit_result result;
    const char *words;
} decisions[] = {
    {LIMIT_RESULT_ADMITTED, "Let through and counted"},
    {LIMIT_RESULT_PASSED, "Let through, not metered"},
    {LIMIT_RESULT_DEGRADED, "Let through, the spool could not be written"},
    {LIMIT_RESULT_LIMITED, "Refused: limit reached"},
    {LIMIT_RESULT_UNAUTHORIZED, "Refused: no key, or an unknown one"},
    {LIMIT_RESULT_FORBIDDEN, "Refused: not allowed"},
    {LIMIT_RESULT_NOT_FOUND, "Refused: no such tenant"},
    {LIMIT_RESULT_BAD_REQUEST, "Refused: bad request"},
    {LIMIT_RESULT_UNAVAILABLE, "Refused: gate not ready"},
};
_Static_assert(sizeof(decisions) / sizeof(decisions[0]) == LIMIT_RESULTS, "each result is shown");

/* ---- numbers as people read them ---- */

static const char *count_text(void *pool, uint64_t n)
{
    char text[PAGE_NUMBER_SIZE];

    return talloc_strdup(pool, page_number((int64_t)n * 1000000, text));
}

/* Two or three digits, no more than are known. */
static const char *amount_text(void *pool, double value, const char *unit)
{
    return talloc_asprintf(pool, "%.*f\u202f%s", value > 0 && value < 9.95 ? 1 : 0, value, unit);
}

static const char *time_text(void *pool, double us)
{
    if (us < 999.5)
        return amount_text(pool, us, "\u00b5s");
    return us < 999500 ? amount_text(pool, us / 1e3, "ms") : amount_text(pool, us / 1e6, "s");
}

static const char *latency_text(void *pool, struct latency l)
{
    if (!l.known)
        return "\u2013";
    return l.over ? talloc_asprintf(pool, "> %s", time_text(pool, l.us)) : time_text(pool, l.us);
}

static const char *bytes_text(void *pool, double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;

    for (; bytes >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        bytes /= 1000;
    return unit == 0 ? talloc_asprintf(pool, "%.0f\u202fbytes", bytes) : amount_text(pool, bytes, units[unit]);
}

static const char *lag_text(void *pool, double seconds)
{
    return seconds < 0.05 ? "None" : amount_text(pool, seconds, "s");
}

static const char *span_text(void *pool, double seconds)
{
    int64_t s = seconds > 0 ? (int64_t)(seconds + 0.5) : 0, m = s / 60, h = m / 60;

    if (s < 120)
        return talloc_asprintf(pool, "%" PRId64 "\u202fs", s);
    if (m < 120)
        return talloc_asprintf(pool, "%" PRId64 " min", m);
    return h < 48 ? talloc_asprintf(pool, "%" PRId64 " h %" PRId64 " min", h, m % 60)
                  : talloc_asprintf(pool, "%" PRId64 " days %" PRId64 " h", h / 24, h % 24);
}

/* ---- now ---- */

static struct counted count_now(const struct limit_stats *stats, const struct samples_before *before)
{
    bool on = before && before->stats.table == stats->table;
    struct samples_calls calls = samples_calls(stats);
    struct counted c = {.seconds = on ? before->age_seconds : 0,
                        .let = calls.admitted + calls.passed - (on ? before->calls.admitted + before->calls.passed : 0),
                        .refused = calls.refused - (on ? before->calls.refused : 0)};

    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
        c.latency[i] = stats->latency[i] - (on ? before->stats.latency[i] : 0);
    return c;
}

static void card(struct template_dict *d, const char *label, const char *figure, const char *foot, const char *look,
                 const char *word)
{
    struct template_dict *c = template_section(d, "CARD");

    template_set(c, "LABEL", label);
    template_set(c, "FIGURE", figure);
    template_set(c, "NOTE", foot);
    template_set(c, "LOOK", look);
    if (word)
        template_set(template_section(c, "WORDS"), "WORD", word);
}

static void show_gate(void *pool, struct template_dict *d, const struct counted *c)
{
    uint64_t calls = latency_calls(c->latency);
    const char *span = c->seconds > 0 ? talloc_asprintf(pool, "in the last %s", span_text(pool, c->seconds))
                                      : "since the limit table was created";
    const char *of = calls == 0 ? talloc_asprintf(pool, "No calls %s", span)
                                : talloc_asprintf(pool, "of %s %s %s", count_text(pool, calls),
                                                  calls == 1 ? "call" : "calls", span);

    card(d, "Gate, median", latency_text(pool, latency_quantile(c->latency, 0.5)), of, "ok", NULL);
    card(d, "Gate, p99", latency_text(pool, latency_quantile(c->latency, 0.99)), of, "ok", NULL);
    card(d, "Calls a second", c->seconds > 0 ? amount_text(pool, (double)calls / c->seconds, "") : "\u2013",
         talloc_asprintf(pool, "%s let through, %s refused %s", count_text(pool, c->let), count_text(pool, c->refused),
                         span),
         "ok", NULL);
}

static void show_decisions(void *pool, struct template_dict *d, const struct limit_stats *stats)
{
    struct template_dict *table = template_section(d, "DECISIONS");
    uint64_t sum = 0;

    for (size_t i = 0; i < LIMIT_RESULTS; i++) {
        struct template_dict *row = template_section(table, "DECISION");
        uint64_t calls = stats->results[decisions[i].result];

        template_set(row, "WHAT", decisions[i].words);
        template_set(row, "CALLS", count_text(pool, calls));
        sum += calls;
    }
    template_set(table, "SUM", count_text(pool, sum));
}

static void warn(struct template_dict *d, const char *look, const char *text)
{
    struct template_dict *w = template_section(d, "WARNING");

    template_set(w, "LOOK", look);
    template_set(w, "TEXT", text);
}

static void fact(struct template_dict *d, const char *name, const char *value)
{
    struct template_dict *f = template_section(d, "FACT");

    template_set(f, "NAME", name);
    template_set(f, "VALUE", value);
}

static void show_lag(void *pool, struct template_dict *d, struct json_object *c)
{
    double lag = node_number(c, "lag_seconds"), events = node_number(c, "lag_events");
    bool behind = lag > BEHIND_S;

    card(d, "Lag", lag_text(pool, lag),
         events < 1 ? "No event waits for PostgreSQL"
                    : talloc_asprintf(pool, "%s %s for PostgreSQL", count_text(pool, (uint64_t)events),
                                      events < 2 ? "event waits" : "events wait"),
         behind ? "near" : "ok", behind ? "\u25b3 Behind" : "\u2713 Keeps up");
}

static void show_spool(const struct app *app, struct template_dict *d)
{
    void *pool = app->request->pool;
    uint64_t bytes;
    size_t segments;

    if (node_spool(app->config->paths.spool_dir, &bytes, &segments) != STATUS_OK)
        card(d, "Spool", "\u2013", "The spool can't be read", "near", "\u25b3 Unknown");
    else
        card(d, "Spool", bytes_text(pool, (double)bytes),
             talloc_asprintf(pool, "%zu %s", segments, segments == 1 ? "segment" : "segments"), "ok", NULL);
}

static void show_collector(void *pool, struct template_dict *d, struct json_object *c)
{
    double heard = node_since(c, "heartbeat"), up = node_since(c, "started"), stored = node_since(c, "stored");
    bool away = strcmp(node_text(c, "database"), "connected") != 0, quiet = heard > UNHEARD_S;

    if (quiet)
        warn(d, "over",
             talloc_asprintf(pool,
                             "The collector was last heard of %s ago. Calls wait in the spool until it runs: look "
                             "at its log, or ask tollgate doctor.",
                             span_text(pool, heard)));
    else if (away)
        warn(d, "near", "PostgreSQL is unavailable. Calls wait in the spool; nothing is lost.");
    card(d, "Collector", quiet ? "Not heard of" : talloc_asprintf(pool, "Up %s", span_text(pool, up)),
         talloc_asprintf(pool, "PostgreSQL %s, limit table %s", node_text(c, "database"), node_text(c, "table")),
         quiet  ? "over"
         : away ? "near"
                : "ok",
         quiet  ? "\u25b2 Stopped"
         : away ? "\u25b3 Waiting"
                : "\u2713 Running");
    fact(d, "Last heard of", talloc_asprintf(pool, "%s ago", span_text(pool, heard)));
    fact(d, "Last batch",
         stored < 0 ? "None since its start" : talloc_asprintf(pool, "%s ago", span_text(pool, stored)));
    fact(d, "Batches", count_text(pool, (uint64_t)node_number(c, "batches")));
    fact(d, "Rows stored", count_text(pool, (uint64_t)node_number(c, "rows")));
    fact(d, "Duplicates", count_text(pool, (uint64_t)node_number(c, "duplicates")));
    fact(d, "Rejected", count_text(pool, (uint64_t)node_number(c, "rejected")));
    fact(d, "Counted degraded", count_text(pool, (uint64_t)node_number(c, "degraded")));
    fact(d, "Last error", node_text(c, "last_error")[0] == '\0' ? "None" : node_text(c, "last_error"));
}

/* A worker or a job: when it last did its work, how long a job took, and what is wrong with it. */
static void show_part(void *pool, struct template_dict *table, struct json_object *p, bool job)
{
    struct template_dict *row = template_section(table, "PART");
    double done = node_since(p, "last_done");
    bool failing = node_number(p, "failing") != 0;

    template_set(row, "NAME", node_text(p, "name"));
    template_set(row, "DONE", done < 0 ? "Not yet" : talloc_asprintf(pool, "%s ago", span_text(pool, done)));
    template_set(row, "TOOK", job ? time_text(pool, node_number(p, "duration") * 1e6) : "");
    template_set(row, "STATE",
                 failing ? talloc_asprintf(pool, "\u25b3 %s", node_text(p, "last_error")) : "\u2713 Works");
}

static void show_parts(void *pool, struct template_dict *d, struct json_object *collector)
{
    struct template_dict *table = template_section(d, "PARTS");
    size_t n;
    struct json_object *parts = node_parts(collector, "workers", &n);

    for (size_t i = 0; i < n; i++)
        show_part(pool, table, json_object_array_get_idx(parts, i), false);
    parts = node_parts(collector, "jobs", &n);
    for (size_t i = 0; i < n; i++)
        show_part(pool, table, json_object_array_get_idx(parts, i), true);
}

static void show_now(struct app *app, struct template_dict *d, struct json_object *collector,
                     const struct samples_before *before)
{
    void *pool = app->request->pool;
    struct limit_stats stats;
    struct counted counted;
    enum status s = app_table_open(app);

    if (s == STATUS_OK)
        s = limit_table_stats(app->table, &stats);
    if (s == STATUS_OK) {
        counted = count_now(&stats, before);
        show_gate(pool, d, &counted);
        show_decisions(pool, d, &stats);
    } else {
        log_warning("status: limit table: %s", status_text(s));
        warn(d, "over", "There is no limit table: the gates can't decide. The collector makes it; is it running?");
    }
    if (collector) {
        show_lag(pool, d, collector);
        show_spool(app, d);
        show_collector(pool, d, collector);
        show_parts(pool, d, collector);
        template_show(d, "COLLECTOR");
    } else {
        warn(d, "over", "The collector of this node has written no status. Start tollgate-collector.");
        show_spool(app, d);
    }
}

/* ---- over a day ---- */

static struct step read_step(const struct db_rows *rows, size_t row)
{
    struct step s = {.known = db_int(rows, row, SAMPLES_COUNT) > 0};

    if (!s.known)
        return s;
    s.let = (uint64_t)(db_int(rows, row, SAMPLES_ADMITTED) + db_int(rows, row, SAMPLES_PASSED));
    s.refused = (uint64_t)db_int(rows, row, SAMPLES_REFUSED);
    s.lag = db_double(rows, row, SAMPLES_LAG);
    s.spool_bytes = db_int(rows, row, SAMPLES_SPOOL_BYTES);
    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
        s.latency[i] = (uint64_t)db_int(rows, row, SAMPLES_LATENCY + i);
    return s;
}

/* The day's sums and worst values of a node; `peak` is the worst step's. */
struct day {
    struct step sum;
    uint64_t peak_calls;
    double peak_us;
    size_t first; /* step that is known; STEPS: none */
    size_t gaps;  /* steps behind it that are not; the one that runs now may have no sample yet */
};

static struct day sum_day(const struct step steps[STEPS])
{
    struct day day = {.first = STEPS};

    for (size_t i = 0; i < STEPS; i++) {
        const struct step *s = &steps[i];
        struct latency p99 = latency_quantile(s->latency, 0.99);

        if (!s->known) {
            day.gaps += day.first < i && i + 1 < STEPS;
            continue;
        }
        if (day.first == STEPS)
            day.first = i;
        day.sum.let += s->let;
        day.sum.refused += s->refused;
        for (int b = 0; b < LIMIT_LATENCY_BUCKETS; b++)
            day.sum.latency[b] += s->latency[b];
        day.sum.lag = fmax(day.sum.lag, s->lag);
        day.sum.spool_bytes = s->spool_bytes > day.sum.spool_bytes ? s->spool_bytes : day.sum.spool_bytes;
        day.peak_calls = s->let + s->refused > day.peak_calls ? s->let + s->refused : day.peak_calls;
        day.peak_us = p99.known ? fmax(day.peak_us, p99.us) : day.peak_us;
    }
    return day;
}

/* A bar of a chart from one share of its height to another; what is there at all is seen. */
static void bar(void *pool, struct template_dict *d, const char *section, size_t step, double from, double to,
                const char *look)
{
    struct template_dict *b = template_section(d, section);
    double low = from * (CHART - 4), high = fmax(to * (CHART - 4), low + 2);

    template_set(b, "LOOK", look);
    template_set(b, "X", talloc_asprintf(pool, "%zu", step * UNITS_A_BAR + 1));
    template_set(b, "Y", talloc_asprintf(pool, "%.2f", CHART - high));
    template_set(b, "H", talloc_asprintf(pool, "%.2f", high - low));
}

static void show_step(void *pool, struct template_dict *d, size_t i, const struct step *s, const struct day *day)
{
    struct latency median = latency_quantile(s->latency, 0.5), p99 = latency_quantile(s->latency, 0.99);
    double let = 0, all = 0;

    if (!s->known)
        return;
    if (p99.known) {
        bar(pool, d, "TIME_BAR", i, 0, p99.us / day->peak_us, "tail");
        bar(pool, d, "TIME_BAR", i, 0, median.us / day->peak_us, "some");
    }
    if (day->peak_calls > 0) {
        let = (double)s->let / (double)day->peak_calls;
        all = (double)(s->let + s->refused) / (double)day->peak_calls;
        bar(pool, d, "CALL_BAR", i, 0, let, s->let == 0 ? "zero" : "some");
        if (s->refused > 0)
            bar(pool, d, "CALL_BAR", i, let, all, "refused");
    }
    if (day->sum.lag >= 0.05)
        bar(pool, d, "LAG_BAR", i, 0, s->lag / day->sum.lag, s->lag < 0.05 ? "zero" : "some");
}

static void show_row(void *pool, struct template_dict *d, const char *at, const struct step *s)
{
    struct template_dict *row = template_section(d, "STEP");

    template_set(row, "AT", at);
    template_set(row, "LET", s->known ? count_text(pool, s->let) : "no sample");
    template_set(row, "REFUSED", s->known ? count_text(pool, s->refused) : "\u2013");
    template_set(row, "MEDIAN", latency_text(pool, latency_quantile(s->latency, 0.5)));
    template_set(row, "P99", latency_text(pool, latency_quantile(s->latency, 0.99)));
    template_set(row, "LAG", s->known ? lag_text(pool, s->lag) : "\u2013");
    template_set(row, "SPOOL", s->known ? bytes_text(pool, (double)s->spool_bytes) : "\u2013");
}

static void show_charts(void *pool, struct template_dict *node, const struct step steps[STEPS], const struct day *day,
                        const struct db_rows *rows, size_t first)
{
    struct template_dict *d = template_section(node, "DAY");
    uint64_t calls = day->sum.let + day->sum.refused;

    template_set(d, "MEDIAN", latency_text(pool, latency_quantile(day->sum.latency, 0.5)));
    template_set(d, "P99", latency_text(pool, latency_quantile(day->sum.latency, 0.99)));
    template_set(d, "CALLS", count_text(pool, calls));
    template_set(d, "REFUSED", count_text(pool, day->sum.refused));
    template_set(d, "LAG", lag_text(pool, day->sum.lag));
    template_set(d, "SPOOL", bytes_text(pool, (double)day->sum.spool_bytes));
    template_set(d, "PEAK_TIME", time_text(pool, day->peak_us));
    template_set(d, "PEAK_CALLS", count_text(pool, day->peak_calls));
    template_set_everywhere(
        d, "FROM", talloc_asprintf(pool, "%s %s", db_text(rows, first, SAMPLES_DAY), db_text(rows, first, SAMPLES_AT)));
    template_show(d, latency_calls(day->sum.latency) > 0 ? "TIMES" : "NO_TIMES");
    template_show(d, calls > 0 ? "COUNTS" : "NO_COUNTS");
    template_show(d, day->sum.lag >= 0.05 ? "LAGS" : "NO_LAGS");
    if (day->first > 0)
        template_set(template_section(d, "BEGINS"), "SINCE",
                     talloc_asprintf(pool, "%s %s", db_text(rows, first + day->first, SAMPLES_DAY),
                                     db_text(rows, first + day->first, SAMPLES_AT)));
    if (day->gaps > 0)
        template_show(d, "GAPS");
    for (size_t i = 0; i < STEPS; i++)
        show_step(pool, d, i, &steps[i], day);
    for (size_t i = STEPS; i-- > day->first;)
        show_row(pool, d, db_text(rows, first + i, SAMPLES_AT), &steps[i]);
}

static void show_node(void *pool, struct template_dict *d, const struct db_rows *rows, size_t first, const char *own)
{
    struct template_dict *node = template_section(d, "NODE");
    const char *id = db_text(rows, first, SAMPLES_NODE), *host = db_text(rows, first, SAMPLES_HOST);
    int64_t seen = db_int(rows, first, SAMPLES_SEEN_S);
    struct step steps[STEPS];
    struct day day;

    for (size_t i = 0; i < STEPS; i++)
        steps[i] = read_step(rows, first + i);
    day = sum_day(steps);
    template_set(node, "ID", id);
    template_set(node, "HOST", host[0] == '\0' ? "A node without a name" : host);
    template_set(node, "LOOK", seen > UNSEEN_S ? "over" : "ok");
    template_set(node, "WORD",
                 seen > UNSEEN_S ? talloc_asprintf(pool, "\u25b2 Last heard of %s ago", span_text(pool, (double)seen))
                                 : "\u2713 Running");
    if (strcmp(id, own) == 0)
        template_show(node, "OWN");
    if (day.first == STEPS)
        template_show(node, "NO_DAY");
    else
        show_charts(pool, node, steps, &day, rows, first);
}

static void show(struct app *app, struct json_object *collector, const struct samples_before *before,
                 const struct db_rows *rows)
{
    struct template_dict *d = page_open(app, "Status");
    const char *own = node_text(collector, "node");
    size_t nodes = db_count(rows) / STEPS;

    template_set(d, "VERSION", TOLLGATE_VERSION);
    show_now(app, d, collector, before);
    if (nodes == 0)
        template_show(d, "NO_NODES");
    for (size_t i = 0; i < nodes && i < NODES; i++)
        show_node(app->request->pool, d, rows, i * STEPS, own);
    if (nodes > NODES)
        template_show(d, "MORE_NODES");
    page_send(app, 200, "status.tpl", d);
}

void page_status(struct app *app)
{
    struct json_object *collector = node_collector(app->config->paths.run_dir);
    const char *own = node_text(collector, "node");
    struct samples_before before;
    struct db_rows *rows = NULL;
    bool compared = false;
    enum status s = db_begin(app->db, NULL);

    if (s == STATUS_OK && own[0] != '\0') {
        s = samples_before(app->db, own, NOW_S, &before);
        compared = s == STATUS_OK;
        if (s == STATUS_NOT_FOUND)
            s = STATUS_OK;
    }
    if (s == STATUS_OK)
        s = samples_steps(app->db, STEP_MINUTES, STEPS, NODES + 1, &rows);
    s = app_end(app, s);
    if (s == STATUS_OK)
        show(app, collector, compared ? &before : NULL, rows);
    else
        app_fail(app, s, "status");
    db_rows_free(rows);
    json_object_put(collector);
}
