/* api_events.c: events in. Nothing here needs the database: the limit table says who and what, the spool keeps it */
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/api.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/store/journal.h"
#include "lib/store/usage.h"
#include "lib/web/event_input.h"
#include "lib/web/json.h"

#define SUMMARY_MAX 16 /* tenants × metrics that an answer tells the usage of */
#define WAIT_MAX_US INT64_C(5000000)
#define WAIT_STEP_US 20000
#define COUNTED_MAX 64 /* tenants whose duplicates an answer counts */

static enum status tenant_state(void *arg, const char *tenant, enum limit_state *out)
{
    struct app *app = arg;
    struct limit_tenant *entry = talloc(app->request->pool, struct limit_tenant);
    uint32_t index;
    enum status s = !entry ? STATUS_NO_MEMORY : limit_table_tenant_index(app->table, tenant, strlen(tenant), &index);

    if (s == STATUS_OK)
        s = limit_table_tenant(app->table, index, entry);
    if (s == STATUS_NOT_FOUND && !limit_table_is_ready(app->table))
        s = STATUS_UNAVAILABLE;
    if (s == STATUS_OK)
        *out = (enum limit_state)entry->state;
    talloc_free(entry);
    return s;
}

static struct json_object *errors_of(const struct event_input *in)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < in->n_listed; i++) {
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "index", json_object_new_int64((int64_t)in->errors[i].index));
        json_object_object_add(one, "field", json_object_new_string(in->errors[i].field));
        json_object_object_add(one, "code", json_object_new_string(in->errors[i].code));
        json_object_object_add(one, "message", json_object_new_string(in->errors[i].message));
        json_object_array_add(list, one);
    }
    return list;
}

static void refuse_events(struct app *app, const struct event_input *in)
{
    struct json_object *document = json_object_new_object();
    const struct event_error *e = &in->errors[0];

    json_object_object_add(document, "error",
                           json_object_new_string(in->n_errors == 1 ? "One event is wrong" : "Some events are wrong"));
    json_object_object_add(document, "code", json_object_new_string("events_invalid"));
    json_object_object_add(
        document, "detail",
        json_object_new_string(talloc_asprintf(
            app->request->pool, "Event %zu%s%s: %s. Nothing was stored; ?partial=true stores the good ones.", e->index,
            e->field[0] == '\0' ? "" : ", ", e->field, e->message)));
    json_object_object_add(document, "errors", errors_of(in));
    if (in->n_errors > in->n_listed)
        json_object_object_add(document, "errors_total", json_object_new_int64((int64_t)in->n_errors));
    response_json(app->response, 400, document);
}

/* ---- what the answer says of the usage ---- */

struct sum {
    const struct event *first;
    uint8_t metric;
    int64_t amount;
};

static size_t sum_up(const struct event_input *in, struct sum sums[SUMMARY_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < in->n; i++) {
        const struct event *e = &in->events[i];
        size_t k = 0;

        while (k < n && (sums[k].metric != in->metrics[i] || sums[k].first->tenant.length != e->tenant.length ||
                         memcmp(sums[k].first->tenant.at, e->tenant.at, e->tenant.length) != 0))
            k++;
        if (k == SUMMARY_MAX)
            continue;
        if (k == n)
            sums[n++] = (struct sum){e, in->metrics[i], 0};
        if (sums[k].amount <= EVENT_VALUE_MAX - e->value)
            sums[k].amount += e->value;
    }
    return n;
}

/* Each tenant's and metric's place by the limit table as if the accepted events were counted. */
static struct json_object *usage_of(struct app *app, const struct event_input *in)
{
    struct json_object *list = json_object_new_array();
    struct sum sums[SUMMARY_MAX];
    size_t n = sum_up(in, sums);

    for (size_t i = 0; i < n; i++) {
        const struct text *tenant = &sums[i].first->tenant;
        struct limit_ask ask = {.metric = sums[i].metric};
        struct limit_answer answer = {0};
        struct json_object *one;
        uint32_t index;

        if (limit_table_tenant_index(app->table, tenant->at, tenant->length, &index) != STATUS_OK ||
            limit_table_decide(app->table, index, &ask, 1, clock_wall_us(), false, &answer) != STATUS_OK)
            continue;
        one = api_check_shape(&app->catalogue, sums[i].metric, &answer, &answer, answer.decisive);
        json_object_object_add(one, "tenant_id", json_object_new_string_len(tenant->at, (int)tenant->length));
        json_object_object_add(one, "added", json_from_millionths(sums[i].amount));
        json_object_array_add(list, one);
    }
    return list;
}

/* ---- storing ---- */

/*
 * What is on disk counts: levels at once in this node's table, everything by the collector. A failure here is no failure of the request:
 * the collector brings it in.
 */
static void count_levels(struct app *app, const struct event_input *in)
{
    for (size_t i = 0; i < in->n; i++) {
        const struct event *e = &in->events[i];
        uint32_t tenant;
        enum status s;

        if (app->catalogue.metrics[in->metrics[i]].kind != LIMIT_KIND_GAUGE)
            continue;
        s = limit_table_tenant_index(app->table, e->tenant.at, e->tenant.length, &tenant);
        if (s == STATUS_OK)
            s = limit_table_post_level(app->table, tenant, in->metrics[i], e->recorded_us, e->value,
                                       e->flags & EVENT_DELTA);
        if (s != STATUS_OK)
            log_warning("a posted level counts when it is stored: %s", status_text(s));
    }
}

static void refuse_storing(struct app *app, enum status s)
{
    if (s == STATUS_LIMIT) {
        app_error(app, 413, "body_too_large", "The events are too large together", "Send them in several requests.");
        return;
    }
    log_error("events: spool: %s", status_text(s));
    app_error(app, 503, s == STATUS_NO_SPACE ? "spool_full" : "spool_unavailable", "The events can't be stored now",
              "Nothing was stored. Send them again later.");
}

/* ---- ?wait=true ---- */

/* A request whose events are in the spool, on its own until they are in the database; its process serves others meanwhile. */
struct pending {
    struct json_object *document; /* of the answer, but for what came of the events */
    int status;
    int64_t until_us;
    char node[SPOOL_NODE_TEXT];
    uint64_t segment, bytes; /* where the spool stood behind them */
    enum status s;           /* of the last look; STATUS_END: not in the database yet */
    int64_t n, with_id, appended_us;
    char *tenants[COUNTED_MAX]; /* of the events with an id */
    size_t n_tenants;           /* more than COUNTED_MAX: they are not looked up */
};

static void let_go(void *kept)
{
    struct pending *p = kept;

    json_object_put(p->document);
    talloc_free(p);
}

static bool is_tenant(const char *id, const struct text *tenant)
{
    return strncmp(id, tenant->at, tenant->length) == 0 && id[tenant->length] == '\0';
}

/* False when there is no memory. */
static bool note_tenants(struct pending *p, const struct event_input *in)
{
    for (size_t i = 0; i < in->n; i++) {
        const struct event *e = &in->events[i];
        size_t k = 0;

        if (e->id.length == 0)
            continue;
        p->with_id++;
        while (k < p->n_tenants && k < COUNTED_MAX && !is_tenant(p->tenants[k], &e->tenant))
            k++;
        if (k < p->n_tenants)
            continue;
        if (p->n_tenants++ == COUNTED_MAX)
            return true;
        p->appended_us = e->appended_us; /* one instant for all of a request */
        p->tenants[k] = talloc_strndup(p, e->tenant.at, e->tenant.length);
        if (!p->tenants[k])
            return false;
    }
    return true;
}

/* Is what the request appended in the database? Requests that wait side by side share a look. */
static enum status look(struct app *app, const struct pending *p)
{
    if (app->stored.segment != p->segment || clock_mono_us() - app->stored.seen_us >= WAIT_STEP_US) {
        app->stored.segment = p->segment;
        app->stored.s = db_begin(app->db, NULL);
        if (app->stored.s == STATUS_OK)
            app->stored.s = journal_position(app->db, p->node, p->segment, &app->stored.position);
        app->stored.s = app_end(app, app->stored.s);
        app->stored.seen_us = clock_mono_us();
    }
    return app->stored.s == STATUS_OK && app->stored.position < p->bytes ? STATUS_END : app->stored.s;
}

/* Events with an id that were there before; STATUS_LIMIT when too many tenants are in the body to look at each. */
static enum status count_duplicates(struct app *app, const struct pending *p, int64_t *duplicates)
{
    enum status s = p->n_tenants > COUNTED_MAX ? STATUS_LIMIT : STATUS_OK;
    int64_t claimed = 0;

    for (size_t i = 0; s == STATUS_OK && i < p->n_tenants; i++) {
        int64_t found = 0;

        s = db_begin(app->db, p->tenants[i]);
        if (s == STATUS_OK)
            s = usage_claimed(app->db, p->tenants[i], p->appended_us, &found);
        s = app_end(app, s);
        claimed += found;
    }
    if (s == STATUS_OK)
        *duplicates = p->with_id > claimed ? p->with_id - claimed : 0;
    return s;
}

bool api_events_done(struct app *app, void *kept)
{
    struct pending *p = kept;
    int64_t now = clock_mono_us();

    p->s = look(app, p);
    return p->s != STATUS_END || now >= p->until_us || prefork_stopping() ||
           !responder_later(app->responder, now + WAIT_STEP_US, p, let_go);
}

void api_events_answer(struct app *app, void *kept)
{
    struct pending *p = kept;
    int64_t duplicates = 0;

    json_object_object_add(p->document, "committed", json_object_new_boolean(p->s == STATUS_OK));
    if (p->s == STATUS_OK && count_duplicates(app, p, &duplicates) == STATUS_OK) {
        json_object_object_add(p->document, "inserted", json_object_new_int64(p->n - duplicates));
        json_object_object_add(p->document, "duplicates", json_object_new_int64(duplicates));
    }
    response_json(app->response, p->status, p->document);
    p->document = NULL;
}

/* Waits until the events are committed, but holds up nobody: api_events_done and api_events_answer go on. */
static void wait_for_commit(struct app *app, const struct event_input *in, struct json_object *document, int status)
{
    struct pending *p = talloc_zero(NULL, struct pending);
    struct spool_node node;

    if (!p || !note_tenants(p, in)) {
        talloc_free(p);
        response_json(app->response, status, document);
        return;
    }
    p->document = document;
    p->status = status;
    p->n = (int64_t)in->n;
    p->until_us = clock_mono_us() + WAIT_MAX_US;
    p->s = in->n == 0 ? STATUS_OK : spool_node_load(app->config->paths.spool_dir, false, &node);
    if (p->s == STATUS_OK && in->n > 0) {
        spool_node_text(&node, p->node);
        p->segment = spool_writer_segment(app->spool, &p->bytes);
        p->s = STATUS_END;
        app->later = responder_later(app->responder, clock_mono_us() + WAIT_STEP_US, p, let_go);
    }
    if (app->later)
        return;
    api_events_answer(app, p);
    let_go(p);
}

static bool flag(const struct request *r, const char *name)
{
    const char *value = request_query(r, name);

    return value && (strcmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

static void answer_accepted(struct app *app, const struct event_input *in)
{
    struct json_object *document = json_object_new_object();

    int status = in->n_errors > 0 ? 207 : 202;

    json_object_object_add(document, "accepted", json_object_new_int64((int64_t)in->n));
    if (in->n_errors > 0)
        json_object_object_add(document, "errors", errors_of(in));
    json_object_object_add(document, "usage", usage_of(app, in));
    if (flag(app->request, "wait"))
        wait_for_commit(app, in, document, status);
    else
        response_json(app->response, status, document);
}

void api_events(struct app *app)
{
    struct request_refusal why;
    struct event_input in;
    struct event_rules rules = {
        .catalogue = &app->catalogue,
        .tenant = app->caller.tenant,
        .named = app->request->tenant_header,
        .max = (size_t)app->config->web.events_max,
        .now_us = clock_wall_us(),
        .state = tenant_state,
        .arg = app,
    };
    enum status s;

    if (!app_table(app))
        return;
    s = event_input_read(app->request, &rules, &in, &why);
    if (s == STATUS_INVALID) {
        app_error(app, why.status, why.code, why.message, why.detail);
        return;
    }
    if (s != STATUS_OK) {
        log_warning("events: %s", status_text(s));
        app_error(app, 503, "limit_table_unavailable", "The limit table is being filled",
                  "Send them again in a few seconds.");
        return;
    }
    if (in.n_errors > 0 && (in.n == 0 || !flag(app->request, "partial"))) {
        refuse_events(app, &in);
        return;
    }
    s = app_spool(app);
    if (s == STATUS_OK && in.n > 0)
        s = spool_append(app->spool, in.events, in.n, true);
    if (s != STATUS_OK) {
        refuse_storing(app, s);
        return;
    }
    count_levels(app, &in);
    answer_accepted(app, &in);
}
