/* api_subscription.c: a tenant's plan, and changing it */
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/api.h"
#include "lib/base/decimal.h"
#include "lib/store/subscription.h"
#include "lib/store/usage.h"
#include "lib/web/json.h"

static struct json_object *subscription_shape(const struct db_rows *rows)
{
    static const struct {
        const char *name;
        enum subscription_column column;
    } members[] = {
        {"tenant_id", SUBSCRIPTION_TENANT},        {"tier_id", SUBSCRIPTION_TIER},
        {"tier_name", SUBSCRIPTION_TIER_NAME},     {"state", SUBSCRIPTION_STATE},
        {"usage_limits", SUBSCRIPTION_LIMITS},     {"overrides", SUBSCRIPTION_OVERRIDES},
        {"tier_limits", SUBSCRIPTION_TIER_LIMITS}, {"current_usage", SUBSCRIPTION_USAGE},
    };
    struct json_object *o = json_object_new_object();

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const char *text = db_text(rows, 0, members[i].column);

        json_object_object_add(o, members[i].name,
                               members[i].column >= SUBSCRIPTION_LIMITS ? json_stored(text)
                                                                        : json_object_new_string(text));
    }
    return o;
}

static void answer(struct app *app, enum status s, const struct db_rows *rows, struct json_object *warnings)
{
    struct json_object *document;

    if (s == STATUS_OK && db_null(rows, 0, SUBSCRIPTION_TIER)) {
        app_error(app, 404, "no_subscription", "This tenant has no subscription",
                  "Every call is refused until a plan is set: PUT a tier_id here.");
        s = STATUS_END;
    } else if (s != STATUS_OK) {
        app_fail(app, s, "subscription");
    }
    if (s != STATUS_OK) {
        json_object_put(warnings);
        return;
    }
    document = json_object_new_object();
    json_object_object_add(document, "subscription", subscription_shape(rows));
    if (warnings)
        json_object_object_add(document, "warnings", warnings);
    response_json(app->response, 200, document);
}

void api_subscription_get(struct app *app)
{
    struct db_rows *rows = NULL;
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = subscription_read(app->db, app->tenant, &rows);
    s = app_end(app, s);
    answer(app, s, rows, NULL);
    db_rows_free(rows);
}

/* {"tier_id":"…","usage_limits":{…}}, either part; false after answering. */
static bool read_change(struct app *app, const char **tier, const char **limits)
{
    struct json_object *body = app_json_body(app);
    const char *wrong = NULL;

    if (!body)
        return false;
    if (!json_object_is_type(body, json_type_object) || json_object_object_length(body) == 0)
        wrong = "send an object with tier_id, usage_limits or both";
    if (!wrong) {
        json_object_object_foreach(body, name, value)
        {
            if (strcmp(name, "tier_id") == 0 && json_object_is_type(value, json_type_string) && !json_has_nul(value))
                *tier = json_object_get_string(value);
            else if (strcmp(name, "usage_limits") == 0 && json_object_is_type(value, json_type_object) &&
                     !json_has_nul(value))
                *limits = json_object_to_json_string_ext(value, JSON_WRITE_FLAGS);
            else if (strcmp(name, "tier_id") == 0)
                wrong = "tier_id: send a string";
            else if (strcmp(name, "usage_limits") == 0)
                wrong = "usage_limits: send an object of limits";
            else
                wrong = talloc_asprintf(app->request->pool,
                                        "%.100s: there is no such member; known are tier_id, usage_limits", name);
        }
    }
    if (wrong)
        app_error(app, 400, "body_invalid", "The body is not right", wrong);
    return !wrong;
}

/* A limit below what is used already is allowed, and said. */
static struct json_object *warnings_of(const struct usage_report *r)
{
    struct json_object *list = json_object_new_array();
    char used[DECIMAL_SIZE], max[DECIMAL_SIZE], text[512];

    for (size_t i = 0; i < r->n; i++) {
        const struct standing_limit *l = &r->limit[i];
        const struct limit_verdict *v = &l->at.verdict;

        if (v->unlimited || v->used <= v->limit)
            continue;
        snprintf(text, sizeof(text), "%s: the limit of %s is lower than the %s %s in use", l->key,
                 decimal_text(v->limit, max), decimal_text(v->used, used), l->unit);
        json_object_array_add(list, json_object_new_string(text));
    }
    return list;
}

/* What the database says of a refused change. */
static void refuse(struct app *app)
{
    static const struct {
        const char *sqlstate, *code, *message, *detail;
    } reasons[] = {
        {"TG001", "limit_unknown", "There is no such limit", "usage_limits.%s: no such limit."},
        {"TG002", "tier_unknown", "There is no such tier", "%s: name a tier that exists (tollgate tier list)."},
        {"TG003", "limit_invalid", "A limit is not right",
         "usage_limits.%s: send -1 (unlimited), 0 to 1000000000000 with at most six decimal places, or null."},
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        size_t before = strcspn(reasons[i].detail, "%");

        if (strcmp(db_sqlstate(app->db), reasons[i].sqlstate) != 0)
            continue;
        app_error(app, 400, reasons[i].code, reasons[i].message,
                  talloc_asprintf(app->request->pool, "%.*s%s%s", (int)before, reasons[i].detail, db_detail(app->db),
                                  reasons[i].detail + before + 2));
        return;
    }
    if (strncmp(db_sqlstate(app->db), "22", 2) == 0) /* a number that no type of PostgreSQL holds, say */
        app_error(app, 400, "limit_invalid", "A limit is not right",
                  "usage_limits: send -1 (unlimited), 0 to 1000000000000 with at most six decimal places, or null.");
    else
        app_fail(app, STATUS_INVALID, "subscription");
}

void api_subscription_put(struct app *app)
{
    const char *tier = NULL, *limits = NULL;
    struct usage_report report = {0};
    struct db_rows *rows = NULL;
    enum status s;

    if (!read_change(app, &tier, &limits))
        return;
    s = app_begin(app);
    if (s == STATUS_OK)
        s = subscription_set(app->db, app->tenant, tier, limits);
    if (s == STATUS_INVALID) {
        refuse(app);
        db_rollback(app->db);
        return;
    }
    if (s == STATUS_OK)
        s = subscription_read(app->db, app->tenant, &rows);
    if (s == STATUS_OK)
        s = usage_report_read(app->db, app->tenant, &report);
    s = app_end(app, s);
    answer(app, s, rows, s == STATUS_OK ? warnings_of(&report) : NULL);
    usage_report_term(&report);
    db_rows_free(rows);
}
