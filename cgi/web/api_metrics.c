/* api_metrics.c: Prometheus text of the whole node. Every label is of a fixed set; a client can't invent one */
#include <inttypes.h>
#include <string.h>

#include "cgi/web/api.h"
#include "lib/base/log.h"
#include "lib/web/node.h"

static const char *const result_names[LIMIT_RESULTS] = {
    [LIMIT_RESULT_ADMITTED] = "admitted",       [LIMIT_RESULT_PASSED] = "passed",
    [LIMIT_RESULT_BAD_REQUEST] = "bad_request", [LIMIT_RESULT_UNAUTHORIZED] = "unauthorized",
    [LIMIT_RESULT_FORBIDDEN] = "forbidden",     [LIMIT_RESULT_NOT_FOUND] = "not_found",
    [LIMIT_RESULT_LIMITED] = "limited",         [LIMIT_RESULT_DEGRADED] = "degraded",
    [LIMIT_RESULT_UNAVAILABLE] = "unavailable",
};

static void head(struct buffer *b, const char *name, const char *type, const char *help)
{
    buffer_format(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct buffer *b, const char *name, const char *help, uint64_t value)
{
    head(b, name, "gauge", help);
    buffer_format(b, "%s %" PRIu64 "\n", name, value);
}

static void gate_metrics(struct buffer *b, const struct limit_stats *s)
{
    uint64_t cumulated = 0;

    head(b, "tollgate_gate_decisions_total", "counter", "Calls that the gate decided, by result.");
    for (int i = 0; i < LIMIT_RESULTS; i++)
        buffer_format(b, "tollgate_gate_decisions_total{result=\"%s\"} %" PRIu64 "\n", result_names[i], s->results[i]);
    head(b, "tollgate_gate_duration_seconds", "histogram", "Time from accepting a call's connection to its answer.");
    for (int i = 0; i < LIMIT_LATENCY_BUCKETS - 1; i++) {
        cumulated += s->latency[i];
        buffer_format(b, "tollgate_gate_duration_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                      limit_latency_bounds_us[i] / 1e6, cumulated);
    }
    cumulated += s->latency[LIMIT_LATENCY_BUCKETS - 1];
    buffer_format(b, "tollgate_gate_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", cumulated);
    buffer_format(b, "tollgate_gate_duration_seconds_sum %.6f\n", (double)s->latency_sum_us / 1e6);
    buffer_format(b, "tollgate_gate_duration_seconds_count %" PRIu64 "\n", cumulated);
}

/* Keys of limits are the operator's to name: what a label can't hold as it is, is escaped. */
static void refusal_metrics(struct buffer *b, const struct limit_catalogue *c, const struct limit_stats *s)
{
    head(b, "tollgate_refusals_total", "counter", "Calls and events that a limit refused, of all tenants, by limit.");
    for (uint32_t i = 0; i < c->n_limits; i++) {
        buffer_text(b, "tollgate_refusals_total{limit=\"");
        for (const char *at = c->limits[i].key; *at; at++) {
            if (*at == '"' || *at == '\\')
                buffer_add(b, "\\", 1);
            buffer_add(b, *at == '\n' ? " " : at, 1);
        }
        buffer_format(b, "\"} %" PRIu64 "\n", s->refused[i]);
    }
}

static void table_metrics(struct buffer *b, const struct limit_table_sizes *s)
{
    gauge(b, "tollgate_limit_table_tenants", "Tenants in the limit table.", s->tenants);
    gauge(b, "tollgate_limit_table_keys", "Keys in the limit table.", s->keys);
    gauge(b, "tollgate_limit_table_bytes", "Bytes of the limit table's files.", s->file_bytes);
}

static void spool_metrics(struct buffer *b, const struct app *app)
{
    uint64_t bytes;
    size_t segments;

    if (node_spool(app->config->paths.spool_dir, &bytes, &segments) != STATUS_OK)
        return;
    gauge(b, "tollgate_spool_segments", "Segments in the spool.", segments);
    gauge(b, "tollgate_spool_bytes", "Bytes in the spool, committed ones of open segments included.", bytes);
}

/* Numbers of collector.json by their names there. */
static void collector_metrics(struct buffer *b, struct json_object *status)
{
    static const struct {
        const char *member, *name, *type, *help;
    } known[] = {
        {"lag_events", "tollgate_collector_lag_events", "gauge", "Events in the spool that are not committed."},
        {"lag_seconds", "tollgate_collector_lag_seconds", "gauge", "Age of the oldest event that is not committed."},
        {"batches", "tollgate_collector_batches_total", "counter", "Batches committed since the start."},
        {"rows", "tollgate_collector_rows_total", "counter", "Rows committed since the start."},
        {"duplicates", "tollgate_collector_duplicates_total", "counter", "Events whose id was there before."},
        {"rejected", "tollgate_collector_rejected_total", "counter",
         "Events that went to usage_rejected since the start."},
        {"degraded", "tollgate_collector_degraded_total", "counter",
         "Calls counted while the spool could not be written."},
    };
    struct json_object *value;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!json_object_object_get_ex(status, known[i].member, &value) ||
            !(json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double)))
            continue;
        head(b, known[i].name, known[i].type, known[i].help);
        buffer_format(b, "%s %s\n", known[i].name, json_object_get_string(value));
    }
}

/* A metric of each worker or job: of its number, its time, or whether it is failing. */
struct part_metric {
    const char *member, *name, *type, *help;
    bool time;
};

static void part_metrics(struct buffer *b, struct json_object *status, const char *list, const char *label,
                         const struct part_metric *m)
{
    size_t n;
    struct json_object *parts = node_parts(status, list, &n);

    if (n > 0)
        head(b, m->name, m->type, m->help);
    for (size_t i = 0; i < n; i++) {
        struct json_object *part = json_object_array_get_idx(parts, i);
        double value = m->time ? (double)node_time(part, m->member) / 1e6 : node_number(part, m->member);

        buffer_format(b, "%s{%s=\"%s\"} %.15g\n", m->name, label, node_text(part, "name"), value);
    }
}

static void health_metrics(struct buffer *b, struct json_object *status)
{
    static const struct part_metric workers[] = {
        {"failing", "tollgate_collector_worker_failing", "gauge", "Whether the worker's last try failed.", false},
        {"last_done", "tollgate_collector_worker_last_success_timestamp_seconds", "gauge",
         "When the worker last did its work; 0: not since the start.", true},
        {"behind", "tollgate_collector_worker_behind", "gauge",
         "What waits for the worker: events (import), tenants (replicate), jobs (jobs).", false},
        {"failed", "tollgate_collector_worker_failures_total", "counter", "Failures since the start.", false},
    };
    static const struct part_metric jobs[] = {
        {"failing", "tollgate_collector_job_failing", "gauge", "Whether the job's last run failed.", false},
        {"last_done", "tollgate_collector_job_last_success_timestamp_seconds", "gauge",
         "When the job last did its work; 0: not since the start.", true},
        {"duration", "tollgate_collector_job_duration_seconds", "gauge", "How long the job's last run took.", false},
        {"failed", "tollgate_collector_job_failures_total", "counter", "Failures since the start.", false},
        {"overran", "tollgate_collector_job_overruns_total", "counter",
         "Runs since the start that took longer than the job's deadline.", false},
    };

    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++)
        part_metrics(b, status, "workers", "worker", &workers[i]);
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
        part_metrics(b, status, "jobs", "job", &jobs[i]);
}

void api_metrics(struct app *app)
{
    struct buffer *b = &app->response->body;
    struct limit_table_sizes sizes;
    struct limit_stats stats;
    struct limit_catalogue catalogue;
    struct json_object *collector = node_collector(app->config->paths.run_dir);
    enum status s = app_table_open(app);

    head(b, "tollgate_build_info", "gauge", "The version that runs.");
    buffer_text(b, "tollgate_build_info{version=\"" TOLLGATE_VERSION "\"} 1\n");
    if (s == STATUS_OK)
        s = limit_table_stats(app->table, &stats);
    if (s == STATUS_OK)
        s = limit_table_sizes(app->table, &sizes);
    if (s == STATUS_OK)
        s = limit_table_catalogue(app->table, &catalogue, NULL);
    if (s == STATUS_OK) {
        gate_metrics(b, &stats);
        refusal_metrics(b, &catalogue, &stats);
        table_metrics(b, &sizes);
    } else {
        log_warning("metrics: limit table: %s", status_text(s));
    }
    spool_metrics(b, app);
    gauge(b, "tollgate_collector_known", "Whether the collector of this node has written its status.",
          collector ? 1 : 0);
    if (collector) {
        collector_metrics(b, collector);
        health_metrics(b, collector);
    }
    json_object_put(collector);
    app->response->media_type = "text/plain; version=0.0.4; charset=utf-8";
}
