/* api_check.c: may so much more pass? From the limit table, without a query; consume takes it in the same step */
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/api.h"
#include "lib/base/clock.h"
#include "lib/base/decimal.h"
#include "lib/base/json_write.h"
#include "lib/base/log.h"
#include "lib/meter/standing.h"
#include "lib/web/json.h"

#define CHECKS_MAX 16
#define METADATA_SIZE 64

/* What the next call will meet, whatever amount was asked for: the same as pages and reports say. */
static void add_state(struct json_object *o, const struct limit_catalogue *c, uint8_t metric,
                      const struct limit_answer *next, int which)
{
    static const struct limit_verdict none = {.allowed = true, .unlimited = true, .limit = LIMIT_UNLIMITED};
    struct standing_of of = {.tenant = next->state, .gauge = c->metrics[metric].kind == LIMIT_KIND_GAUGE};
    char words[STANDING_WORDS_SIZE];
    struct standing s;

    standing_from(&of, which < 0 ? &none : &next->limits[which].verdict, &s);
    standing_words(&s, words);
    json_object_object_add(o, "mode", json_object_new_string(standing_mode((enum limit_mode)s.verdict.mode)));
    json_object_object_add(o, "state", json_object_new_string(standing_code(s.kind)));
    json_object_object_add(o, "message", json_text(words[0] ? words : NULL));
}

struct json_object *api_check_shape(const struct limit_catalogue *c, uint8_t metric, const struct limit_answer *answer,
                                    const struct limit_answer *next, int which)
{
    struct json_object *o = json_object_new_object();
    const struct limit_verdict *v = which < 0 ? NULL : &answer->limits[which].verdict;
    bool limited = v && !v->unlimited;
    char resets[CLOCK_RFC3339_SIZE] = "";

    if (limited && v->resets_us != 0)
        clock_rfc3339(resets, v->resets_us, answer->limits[which].end_offset_s, 0);
    json_object_object_add(o, "metric", json_object_new_string(c->metrics[metric].name));
    json_object_object_add(o, "allowed", json_object_new_boolean(answer->reason == LIMIT_ADMITTED));
    json_object_object_add(o, "usage", json_from_millionths(!v ? 0 : v->used));
    json_object_object_add(o, "limit", limited ? json_from_millionths(v->limit) : NULL);
    json_object_object_add(o, "remaining", limited ? json_from_millionths(v->remaining) : NULL);
    json_object_object_add(o, "overage", json_from_millionths(!v ? 0 : v->overage));
    json_object_object_add(o, "percent", limited ? json_from_percent(limit_percent(v->used, v->limit)) : NULL);
    json_object_object_add(o, "unlimited", json_object_new_boolean(!limited));
    json_object_object_add(o, "resets_at", json_text(resets[0] ? resets : NULL));
    json_object_object_add(o, "reason",
                           json_text(answer->reason == LIMIT_ADMITTED ? NULL : limit_reason_code(answer->reason)));
    json_object_object_add(o, "limit_key", json_text(!v ? NULL : c->limits[answer->limits[which].slot].key));
    json_object_object_add(o, "window", json_text(!v ? NULL : limit_window_name(answer->limits[which].window)));
    add_state(o, c, metric, next, which);
    return o;
}

/* The limit of this metric that decides: one that refuses, else the one with the least left; -1: none. */
static int decisive_of(const struct limit_answer *a, uint8_t metric)
{
    int best = -1;

    for (uint32_t i = 0; i < a->n; i++) {
        const struct limit_verdict *v = &a->limits[i].verdict, *b = best < 0 ? NULL : &a->limits[best].verdict;

        if (a->limits[i].metric != metric)
            continue;
        if (!b || (b->unlimited && !v->unlimited) || (b->allowed && !v->allowed) ||
            (b->allowed == v->allowed && !v->unlimited && !b->unlimited && v->remaining < b->remaining))
            best = (int)i;
    }
    return best;
}

/* ---- what is asked ---- */

struct asked {
    size_t n;
    struct limit_ask asks[CHECKS_MAX];
};

/* Adds metric and amount; false after answering 400. `place` names it in the answer. */
static bool ask_for(struct app *app, struct asked *asked, const char *metric, const char *amount, size_t length,
                    const char *place)
{
    int index = !metric ? -1 : limit_table_metric(&app->catalogue, metric, strlen(metric));
    int64_t millionths = EVENT_MILLION;

    if (index < 0) {
        app_error(app, 400, !metric ? "metric_missing" : "metric_unknown",
                  !metric ? "A metric is needed" : "There is no such metric",
                  talloc_asprintf(app->request->pool, "%s: name a metric that exists, such as api_call.", place));
        return false;
    }
    if (amount && (decimal_parse(amount, length, EVENT_VALUE_MAX, &millionths) != STATUS_OK || millionths < 0)) {
        app_error(app, 400, "amount_invalid", "The amount is not right",
                  talloc_asprintf(app->request->pool,
                                  "%s: send a number from 0 to 1000000000000 with at most six decimal places.", place));
        return false;
    }
    asked->asks[asked->n++] = (struct limit_ask){.metric = (uint8_t)index, .amount = millionths};
    return true;
}

/* {"checks":[{"metric","amount"}],"consume":false}; false after answering. */
static bool read_checks(struct app *app, struct asked *asked, bool *consume)
{
    struct json_object *body = app_json_body(app), *checks = NULL, *value;

    if (!body)
        return false;
    if (json_object_object_get_ex(body, "consume", &value)) {
        if (!json_object_is_type(value, json_type_boolean)) {
            app_error(app, 400, "body_invalid", "The body is not right", "consume: send true or false.");
            return false;
        }
        *consume = json_object_get_boolean(value);
    }
    if (!json_object_object_get_ex(body, "checks", &checks) || !json_object_is_type(checks, json_type_array) ||
        json_object_array_length(checks) == 0 || json_object_array_length(checks) > CHECKS_MAX) {
        app_error(app, 400, "body_invalid", "The body is not right",
                  "checks: send an array of 1 to 16 objects {\"metric\":…,\"amount\":…}.");
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(checks); i++) {
        struct json_object *one = json_object_array_get_idx(checks, i), *metric = NULL, *amount = NULL;
        const char *place = talloc_asprintf(app->request->pool, "checks[%zu]", i);
        const char *text = NULL;

        if (json_object_object_get_ex(one, "amount", &amount))
            text = json_object_is_type(amount, json_type_string) ? "" : json_object_get_string(amount);
        json_object_object_get_ex(one, "metric", &metric);
        if (!ask_for(app, asked, json_object_is_type(metric, json_type_string) ? json_object_get_string(metric) : NULL,
                     text, !text ? 0 : strlen(text), !place ? "checks" : place))
            return false;
    }
    return true;
}

/* ---- deciding ---- */

/* The tenant's place in the table; false after answering. */
static bool tenant_index(struct app *app, uint32_t *index)
{
    enum status s;

    /* The limit table has no row-level security: a key looks at its own tenant's place, whatever the routes let through. */
    if (app->caller.tenant && strcmp(app->caller.tenant, app->tenant) != 0) {
        app_error(app, 403, "tenant_forbidden", "This is not your tenant", "Ask for your own tenant.");
        return false;
    }
    s = limit_table_tenant_index(app->table, app->tenant, strlen(app->tenant), index);

    if (s == STATUS_OK)
        return true;
    if (s == STATUS_NOT_FOUND && limit_table_is_ready(app->table))
        app_fail(app, s, "check");
    else
        app_error(app, 503, "limit_table_unavailable", "The limit table is being filled",
                  "Try again in a few seconds.");
    return false;
}

static bool may_consume(struct app *app, const struct asked *asked)
{
    enum status s = STATUS_OK;

    if ((app->caller.scopes & LIMIT_SCOPE_TRACK) == 0) {
        app_error(app, 403, "scope_missing", "This key may not consume", "It takes a key with the scope track.");
        return false;
    }
    for (size_t i = 0; i < asked->n; i++) {
        if (limit_is_observed(app->catalogue.metrics[asked->asks[i].metric].aggregation)) {
            app_error(app, 400, "metric_observed", "This metric can't be consumed",
                      "Its events say what is counted; ask without consume, and post them.");
            return false;
        }
        if (app->catalogue.metrics[asked->asks[i].metric].derived) {
            app_error(app, 400, "metric_derived", "This metric can't be consumed",
                      "Tollgate counts it itself; ask without consume.");
            return false;
        }
    }
    if (!app->joined)
        s = limit_table_join(app->table);
    app->joined = s == STATUS_OK;
    if (s == STATUS_OK)
        s = app_spool(app);
    if (s == STATUS_OK)
        return true;
    log_error("consume: %s", status_text(s));
    app_error(app, 503, "consume_unavailable", "Nothing can be consumed now",
              "Nothing was taken. Try again in a few seconds.");
    return false;
}

/* What was taken goes to the spool before anyone hears of it; what can't is given back. */
static enum status record(struct app *app, uint32_t tenant, const struct asked *asked,
                          const struct limit_answer *answer, int64_t now)
{
    struct event events[CHECKS_MAX] = {0};
    char metadata[METADATA_SIZE];
    size_t n = 0;
    enum status s, undone;
    struct json_write w;

    json_write_begin(&w, metadata, sizeof(metadata));
    json_write_boolean(&w, "consumed", true);
    json_write_text(&w, "key", app->caller.key_id);
    size_t length = json_write_end(&w);

    for (size_t i = 0; i < asked->n; i++) {
        const char *metric = app->catalogue.metrics[asked->asks[i].metric].name;

        if (asked->asks[i].amount == 0)
            continue;
        events[n++] = (struct event){
            .tenant = {app->tenant, strlen(app->tenant)},
            .metric = {metric, strlen(metric)},
            .metadata = {metadata, length},
            .recorded_us = now,
            .value = asked->asks[i].amount,
            .flags = limit_table_flags(app->table, answer, asked->asks[i].metric),
        };
    }
    s = n == 0 ? STATUS_OK : spool_append(app->spool, events, n, true);
    if (s == STATUS_OK) {
        limit_table_done(app->table);
        return s;
    }
    undone = limit_table_undo(app->table, tenant, asked->asks, asked->n, answer);
    if (undone != STATUS_OK)
        log_error("consume: giving back: %s", status_text(undone));
    return s;
}

/* Decides, and takes when `consume`; false after answering. */
static bool decide(struct app *app, const struct asked *asked, bool consume, struct limit_answer *answer)
{
    int64_t now = clock_wall_us();
    uint32_t tenant;
    enum status s;

    if (!tenant_index(app, &tenant) || (consume && !may_consume(app, asked)))
        return false;
    s = limit_table_decide(app->table, tenant, asked->asks, asked->n, now, consume, answer);
    if (s != STATUS_OK) {
        log_error("check: %s", status_text(s));
        app_error(app, 503, "limit_table_unavailable", "The limit table can't be read now",
                  "Try again in a few seconds.");
        return false;
    }
    if (!consume)
        return true;
    if (answer->reason != LIMIT_ADMITTED) {
        limit_table_done(app->table);
        return true;
    }
    s = record(app, tenant, asked, answer, now);
    if (s == STATUS_OK)
        return true;
    log_error("consume: spool: %s", status_text(s));
    app_error(app, 503, s == STATUS_NO_SPACE ? "spool_full" : "spool_unavailable", "It could not be recorded",
              "Nothing was taken. Try again in a few seconds.");
    return false;
}

/* The same metrics, each asked for what the next call takes: where the tenant stands. */
static bool look_ahead(struct app *app, struct asked asked, struct limit_answer *next)
{
    for (size_t i = 0; i < asked.n; i++)
        asked.asks[i].amount = standing_amount(app->catalogue.metrics[asked.asks[i].metric].kind == LIMIT_KIND_GAUGE);
    return decide(app, &asked, false, next);
}

void api_check_one(struct app *app)
{
    const char *amount = request_query(app->request, "amount");
    struct asked asked = {0};
    struct limit_answer answer = {0}, next = {0};

    if (!app_table(app) ||
        !ask_for(app, &asked, request_query(app->request, "metric"), amount, !amount ? 0 : strlen(amount), "query") ||
        !decide(app, &asked, false, &answer) || !look_ahead(app, asked, &next))
        return;
    response_json(app->response, 200,
                  api_check_shape(&app->catalogue, asked.asks[0].metric, &answer, &next,
                                  decisive_of(&answer, asked.asks[0].metric)));
}

void api_check_many(struct app *app)
{
    struct asked asked = {0};
    struct limit_answer answer = {0}, next = {0};
    struct json_object *document, *checks;
    bool consume = false;

    if (!app_table(app) || !read_checks(app, &asked, &consume) || !decide(app, &asked, consume, &answer) ||
        !look_ahead(app, asked, &next))
        return;
    document = json_object_new_object();
    checks = json_object_new_array();
    json_object_object_add(document, "allowed", json_object_new_boolean(answer.reason == LIMIT_ADMITTED));
    json_object_object_add(document, "consumed", json_object_new_boolean(consume && answer.reason == LIMIT_ADMITTED));
    json_object_object_add(document, "reason",
                           answer.reason == LIMIT_ADMITTED ? NULL
                                                           : json_object_new_string(limit_reason_code(answer.reason)));
    for (size_t i = 0; i < asked.n; i++) {
        int which = decisive_of(&answer, asked.asks[i].metric);
        struct json_object *one = api_check_shape(&app->catalogue, asked.asks[i].metric, &answer, &next, which);

        /* all or nothing: one that would pass alone says so, the whole says no */
        if (answer.reason == LIMIT_REACHED && which >= 0 && answer.limits[which].verdict.allowed) {
            json_object_object_add(one, "allowed", json_object_new_boolean(true));
            json_object_object_add(one, "reason", NULL);
        }
        json_object_array_add(checks, one);
    }
    json_object_object_add(document, "checks", checks);
    response_json(app->response, 200, document);
}
