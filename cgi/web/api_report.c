/* api_report.c: usage against the plan, with warnings */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/api.h"
#include "lib/base/decimal.h"
#include "lib/store/usage.h"
#include "lib/web/json.h"
#include "lib/web/metrics_json.h"

#define WARNING_SIZE 512

/* The specification's four: their names in the report, and what its sentences call them. */
static const struct {
    const char *limit_key, *name, *subject;
} main_limits[] = {
    {"max_patients", "patients", "Patient"},
    {"max_users", "users", "User"},
    {"storage_gb", "storage", "Storage"},
    {"api_calls_per_day", "api_calls", "API call"},
};
#define N_MAIN (sizeof(main_limits) / sizeof(main_limits[0]))

static int main_limit(const struct standing_limit *l)
{
    for (size_t i = 0; i < N_MAIN; i++)
        if (strcmp(l->key, main_limits[i].limit_key) == 0)
            return (int)i;
    return -1;
}

static const struct standing_limit *limit_by_key(const struct usage_report *r, const char *key)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->limit[i].key, key) == 0)
            return &r->limit[i];
    return NULL;
}

static double percent_of(const struct standing_limit *l)
{
    return !l ? 0 : l->at.percent;
}

static bool warns(const struct standing_limit *l)
{
    return l->known && l->at.percent > STANDING_NEAR_PERCENT;
}

/* usage_limits as they are; the specification's four are always there. */
static struct json_object *limits_shape(const struct usage_report *r)
{
    struct json_object *limits = json_stored(r->limits);

    for (size_t i = 0; i < N_MAIN; i++)
        if (!json_object_object_get_ex(limits, main_limits[i].limit_key, NULL))
            json_object_object_add(limits, main_limits[i].limit_key, json_object_new_int(-1));
    return limits;
}

/* "User limit approaching" up to the limit, as the specification has it; beyond it what happens then. */
static struct json_object *warning(const struct standing_limit *l)
{
    const struct limit_verdict *v = &l->at.verdict;
    char text[WARNING_SIZE], words[STANDING_WORDS_SIZE];
    int which = main_limit(l);
    bool over = v->used > v->limit;
    size_t n = (size_t)snprintf(text, sizeof(text), "%s%s %s", which < 0 ? l->label : main_limits[which].subject,
                                which < 0 ? ": limit" : " limit", over ? "exceeded" : "approaching");

    if (over && (l->at.kind == STANDING_SOFT_OVER || l->at.kind == STANDING_GRACE)) {
        standing_words(&l->at, words);
        snprintf(text + n, sizeof(text) - n, "; n%s", words + 1);
    }
    return json_object_new_string(text);
}

/* What refuses every call comes first, then the specification's four, then the others. */
static struct json_object *warnings_shape(const struct usage_report *r)
{
    struct json_object *list = json_object_new_array();
    const char *all = standing_of_tenant(r->state);

    if (all)
        json_object_array_add(list, json_object_new_string(all));
    for (size_t i = 0; i < N_MAIN; i++) {
        const struct standing_limit *l = limit_by_key(r, main_limits[i].limit_key);

        if (l && warns(l))
            json_object_array_add(list, warning(l));
    }
    for (size_t i = 0; i < r->n; i++)
        if (main_limit(&r->limit[i]) < 0 && warns(&r->limit[i]))
            json_object_array_add(list, warning(&r->limit[i]));
    return list;
}

static struct json_object *alert_shape(const struct standing_limit *l)
{
    const struct limit_verdict *v = &l->at.verdict;
    const char *level = v->used > v->limit ? "exceeded" : v->used == v->limit ? "reached" : "approaching";
    char used[DECIMAL_SIZE], max[DECIMAL_SIZE], message[WARNING_SIZE];
    double percent = l->at.percent;
    struct json_object *o = json_object_new_object();

    snprintf(message, sizeof(message), "%s: %s of %s %s used (%.0f %%)", l->label, decimal_text(v->used, used),
             decimal_text(v->limit, max), l->unit, percent > 100 || percent < 99.5 ? percent : floor(percent));
    json_object_object_add(o, "metric", json_object_new_string(l->metric));
    json_object_object_add(o, "limit_key", json_object_new_string(l->key));
    json_object_object_add(o, "level", json_object_new_string(level));
    json_object_object_add(o, "percent", json_from_percent(percent));
    json_object_object_add(o, "used", json_from_millionths(v->used));
    json_object_object_add(o, "limit", json_from_millionths(v->limit));
    json_object_object_add(o, "message", json_object_new_string(message));
    return o;
}

static struct json_object *report_shape(const struct usage_report *r)
{
    struct json_object *o = json_object_new_object(), *percents = json_object_new_object();
    struct json_object *alerts = json_object_new_array();

    for (size_t i = 0; i < N_MAIN; i++)
        json_object_object_add(percents, main_limits[i].name,
                               json_from_percent(percent_of(limit_by_key(r, main_limits[i].limit_key))));
    for (size_t i = 0; i < r->n; i++)
        if (warns(&r->limit[i]))
            json_object_array_add(alerts, alert_shape(&r->limit[i]));
    json_object_object_add(o, "tenant_id", json_object_new_string(r->usage.tenant_id));
    json_object_object_add(o, "tenant_name", json_object_new_string(r->tenant_name));
    json_object_object_add(o, "tier_id", json_object_new_string(r->tier_id));
    json_object_object_add(o, "current_period", api_usage_shape(&r->usage));
    json_object_object_add(o, "limits", limits_shape(r));
    json_object_object_add(o, "usage_percentage", percents);
    json_object_object_add(o, "warnings", warnings_shape(r));
    json_object_object_add(o, "alerts", alerts);
    return o;
}

void api_report(struct app *app)
{
    struct usage_report report = {0};
    struct json_object *document;
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = usage_report_read(app->db, app->tenant, &report);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        app_fail(app, s, "report");
    } else if (!report.subscribed) {
        app_error(
            app, 404, "no_subscription", "This tenant has no subscription",
            talloc_asprintf(app->request->pool,
                            "%s. An operator sets it: PUT /api/subscription/tenant/:id or tollgate tenant change.",
                            standing_of_tenant(LIMIT_TENANT_NO_SUBSCRIPTION)));
    } else {
        document = json_object_new_object();
        json_object_object_add(document, "report", report_shape(&report));
        json_object_object_add(document, "metrics", metrics_json(report.limit, report.n));
        response_json(app->response, 200, document);
    }
    usage_report_term(&report);
}
