/* api_usage.c: what a tenant uses in its period, and counting it anew */
#include "cgi/web/api.h"
#include "lib/store/usage.h"
#include "lib/web/json.h"
#include "lib/web/metrics_json.h"

struct json_object *api_usage_shape(const struct usage *u)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "id", json_object_new_int64(u->id));
    json_object_object_add(o, "tenant_id", json_object_new_string(u->tenant_id));
    json_object_object_add(o, "period_start", json_object_new_string(u->period_start));
    json_object_object_add(o, "period_end", json_object_new_string(u->period_end));
    json_object_object_add(o, "patients_count", json_object_new_int64(u->patients));
    json_object_object_add(o, "users_count", json_object_new_int64(u->users));
    json_object_object_add(o, "storage_used_gb", json_from_millionths(u->storage));
    json_object_object_add(o, "api_calls_count", json_object_new_int64(u->api_calls));
    json_object_object_add(o, "api_calls_today", json_object_new_int64(u->api_calls_today));
    json_object_object_add(o, "file_uploads_count", json_object_new_int64(u->file_uploads));
    json_object_object_add(o, "appointments_count", json_object_new_int64(u->appointments));
    json_object_object_add(o, "created_at", json_object_new_string(u->created_at));
    json_object_object_add(o, "updated_at", json_object_new_string(u->updated_at));
    return o;
}

void api_usage_current(struct app *app)
{
    struct json_object *document;
    struct usage_report report = {0};
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = usage_report_read(app->db, app->tenant, &report);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        app_fail(app, s, "current usage");
    } else {
        document = json_object_new_object();
        json_object_object_add(document, "usage", api_usage_shape(&report.usage));
        json_object_object_add(document, "metrics", metrics_json(report.limit, report.n));
        response_json(app->response, 200, document);
    }
    usage_report_term(&report);
}

void api_usage_refresh(struct app *app)
{
    struct json_object *document;
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = usage_refresh(app->db, app->tenant);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        app_fail(app, s, "refresh");
        return;
    }
    document = json_object_new_object();
    json_object_object_add(document, "message", json_object_new_string("Usage summary refreshed successfully"));
    response_json(app->response, 200, document);
}
