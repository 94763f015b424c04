/* api_history.c: totals by the day, for scripts */
#include <ctype.h>
#include <string.h>

#include "cgi/web/api.h"
#include "lib/store/query.h"
#include "lib/web/json.h"

bool api_is_day(const char *text)
{
    static const char form[] = "0000-00-00";

    if (!text)
        return true;
    if (strlen(text) != strlen(form))
        return false;
    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return false;
    return true;
}

static struct json_object *rows_shape(const struct db_rows *rows, size_t n)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < n; i++) {
        struct json_object *o = json_object_new_object();

        json_object_object_add(o, "day", json_object_new_string(db_text(rows, i, 0)));
        json_object_object_add(o, "metric_type", json_object_new_string(db_text(rows, i, 1)));
        json_object_object_add(o, "total", json_from_millionths(db_int(rows, i, 2)));
        json_object_object_add(o, "events", json_object_new_int64(db_int(rows, i, 3)));
        json_object_array_add(list, o);
    }
    return list;
}

void api_history(struct app *app)
{
    const char *from = request_query(app->request, "from"), *to = request_query(app->request, "to");
    struct json_object *document;
    struct db_rows *rows = NULL;
    size_t n = 0;
    enum status s = STATUS_INVALID;

    if (api_is_day(from) && api_is_day(to)) {
        s = app_begin(app);
        if (s == STATUS_OK)
            s = query_history(app->db, app->tenant, from, to, request_query(app->request, "metric"), &rows, &n);
        s = app_end(app, s);
    }
    if (s == STATUS_INVALID) {
        app_error(app, 400, "day_invalid", "from or to is not a day", "Send days as YYYY-MM-DD.");
    } else if (s != STATUS_OK) {
        app_fail(app, s, "history");
    } else {
        document = json_object_new_object();
        json_object_object_add(document, "history", rows_shape(rows, n));
        if (n < db_count(rows)) /* too many for one answer */
            json_object_object_add(document, "next_from", json_object_new_string(db_text(rows, n, 0)));
        response_json(app->response, 200, document);
    }
    db_rows_free(rows);
}
