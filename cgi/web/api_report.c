/* api_report.c: usage against the plan, with warnings */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cgi/web/api.h"
#include "lib/base/decimal.h"
#include "lib/meter/limit.h"
#include "lib/store/usage.h"
#include "lib/web/json.h"

#define WARNING_PERCENT 80

/* The specification's four: their names in the report, and the sentence above 80 %. */
static const struct {
    const char *limit_key, *name, *warning;
} main_limits[] = {
    {"max_patients", "patients", "Patient limit approaching"},
    {"max_users", "users", "User limit approaching"},
    {"storage_gb", "storage", "Storage limit approaching"},
    {"api_calls_per_day", "api_calls", "API call limit approaching"},
};
#define N_MAIN (sizeof(main_limits) / sizeof(main_limits[0]))

static const struct usage_limit *limit_by_key(const struct usage_report *r, const char *key)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->limit[i].key, key) == 0)
            return &r->limit[i];
    return NULL;
}

static double percent_of(const struct usage_limit *l)
{
    return !l ? 0 : limit_percent(l->used, l->max);
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

static struct json_object *alert_shape(const struct usage_limit *l, double percent)
{
    const char *level = l->used > l->max ? "exceeded" : l->used == l->max ? "reached" : "approaching";
    char used[DECIMAL_SIZE], max[DECIMAL_SIZE], message[512];
    struct json_object *o = json_object_new_object();

    snprintf(message, sizeof(message), "%s: %s of %s %s used (%.0f %%)", l->label, decimal_text(l->used, used),
             decimal_text(l->max, max), l->unit, percent > 100 || percent < 99.5 ? percent : floor(percent));
    json_object_object_add(o, "metric", json_object_new_string(l->metric));
    json_object_object_add(o, "limit_key", json_object_new_string(l->key));
    json_object_object_add(o, "level", json_object_new_string(level));
    json_object_object_add(o, "percent", json_from_percent(percent));
    json_object_object_add(o, "used", json_from_millionths(l->used));
    json_object_object_add(o, "limit", json_from_millionths(l->max));
    json_object_object_add(o, "message", json_object_new_string(message));
    return o;
}

static struct json_object *report_shape(const struct usage_report *r)
{
    struct json_object *o = json_object_new_object(), *percents = json_object_new_object();
    struct json_object *warnings = json_object_new_array(), *alerts = json_object_new_array();

    for (size_t i = 0; i < N_MAIN; i++) {
        double percent = percent_of(limit_by_key(r, main_limits[i].limit_key));

        json_object_object_add(percents, main_limits[i].name, json_from_percent(percent));
        if (percent > WARNING_PERCENT)
            json_object_array_add(warnings, json_object_new_string(main_limits[i].warning));
    }
    for (size_t i = 0; i < r->n; i++) {
        double percent = percent_of(&r->limit[i]);

        if (percent > WARNING_PERCENT)
            json_object_array_add(alerts, alert_shape(&r->limit[i], percent));
    }
    json_object_object_add(o, "tenant_id", json_object_new_string(r->usage.tenant_id));
    json_object_object_add(o, "tenant_name", json_object_new_string(r->tenant_name));
    json_object_object_add(o, "tier_id", json_object_new_string(r->tier_id));
    json_object_object_add(o, "current_period", api_usage_shape(&r->usage));
    json_object_object_add(o, "limits", limits_shape(r));
    json_object_object_add(o, "usage_percentage", percents);
    json_object_object_add(o, "warnings", warnings);
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
        app_error(app, 404, "no_subscription", "This tenant has no subscription",
                  "An operator gives it one: PUT /api/subscription/tenant/:id or tollgate tenant change.");
    } else {
        document = json_object_new_object();
        json_object_object_add(document, "report", report_shape(&report));
        response_json(app->response, 200, document);
    }
    usage_report_term(&report);
}
