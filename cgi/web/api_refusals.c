/* api_refusals.c: what limits refused, by the hour */
#include "cgi/web/api.h"
#include "lib/store/refusals.h"
#include "lib/web/json.h"

static struct json_object *text_or_null(const struct db_rows *rows, size_t row, int column)
{
    return db_null(rows, row, column) ? NULL : json_object_new_string(db_text(rows, row, column));
}

static struct json_object *rows_shape(const struct db_rows *rows)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < db_count(rows); i++) {
        struct json_object *o = json_object_new_object();

        json_object_object_add(o, "hour", json_object_new_string(db_text(rows, i, REFUSALS_HOUR)));
        json_object_object_add(o, "limit_key", json_object_new_string(db_text(rows, i, REFUSALS_LIMIT)));
        json_object_object_add(o, "label", text_or_null(rows, i, REFUSALS_LABEL));
        json_object_object_add(o, "window", text_or_null(rows, i, REFUSALS_WINDOW));
        json_object_object_add(o, "refused", json_object_new_int64(db_int(rows, i, REFUSALS_COUNT)));
        json_object_array_add(list, o);
    }
    return list;
}

void api_refusals(struct app *app)
{
    const char *from = request_query(app->request, "from"), *to = request_query(app->request, "to");
    struct json_object *document;
    struct db_rows *rows = NULL;
    enum status s = STATUS_INVALID;

    if (api_is_day(from) && api_is_day(to)) {
        s = app_begin(app);
        if (s == STATUS_OK)
            s = refusals_list(app->db, app->tenant, from, to, &rows);
        s = app_end(app, s);
    }
    if (s == STATUS_INVALID) {
        app_error(app, 400, "day_invalid", "from or to is not a day", "Send days as YYYY-MM-DD.");
    } else if (s != STATUS_OK) {
        app_fail(app, s, "refusals");
    } else {
        document = json_object_new_object();
        json_object_object_add(document, "refusals", rows_shape(rows));
        response_json(app->response, 200, document);
    }
    db_rows_free(rows);
}
