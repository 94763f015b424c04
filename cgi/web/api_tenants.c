/* api_tenants.c: the tenants that a key may see, in pages by key */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/api.h"
#include "lib/store/tenants.h"
#include "lib/web/json.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000

static struct json_object *tenant_shape(const struct db_rows *rows, size_t i)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "id", json_object_new_string(db_text(rows, i, TENANTS_ID)));
    json_object_object_add(o, "name", json_object_new_string(db_text(rows, i, TENANTS_NAME)));
    json_object_object_add(
        o, "tier_id", db_null(rows, i, TENANTS_TIER) ? NULL : json_object_new_string(db_text(rows, i, TENANTS_TIER)));
    json_object_object_add(o, "state", json_object_new_string(db_text(rows, i, TENANTS_STATE)));
    return o;
}

/* page[size]; 0 when it is wrong. */
static int page_size(const struct request *r)
{
    const char *text = request_query(r, "page[size]");
    long n = PAGE_DEFAULT;
    char *end;

    if (text) {
        n = strtol(text, &end, 10);
        if (*end != '\0' || !isdigit((unsigned char)*text) || n < 1 || n > PAGE_MAX)
            return 0;
    }
    return (int)n;
}

static struct json_object *next_link(void *pool, const char *last, int size)
{
    char *link = talloc_asprintf(pool, "/api/tenants?page%%5Bsize%%5D=%d&page%%5Bafter%%5D=", size);

    for (; link && *last != '\0'; last++)
        link = isalnum((unsigned char)*last) || strchr("-_.~", *last)
                   ? talloc_asprintf_append_buffer(link, "%c", *last)
                   : talloc_asprintf_append_buffer(link, "%%%02X", (unsigned char)*last);
    return json_text(link);
}

/* One row more than a page tells whether there is a next. */
static enum status read_page(struct app *app, int size, struct db_rows **rows)
{
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = app->caller.role == ROLE_OPERATOR
                ? tenants_all(app->db, request_query(app->request, "page[after]"), size + 1, rows)
                : tenants_own(app->db, app->caller.tenant, rows);
    return app_end(app, s);
}

void api_tenants(struct app *app)
{
    struct json_object *document, *data, *links;
    struct db_rows *rows = NULL;
    int size = page_size(app->request);
    size_t n;
    enum status s;

    if (size == 0) {
        app_error(app, 400, "page_invalid", "page[size] is not right", "Send a number from 1 to 1000.");
        return;
    }
    s = read_page(app, size, &rows);
    if (s != STATUS_OK) {
        app_fail(app, s, "tenants");
        db_rows_free(rows);
        return;
    }
    n = db_count(rows) > (size_t)size ? (size_t)size : db_count(rows);
    document = json_object_new_object();
    data = json_object_new_array();
    links = json_object_new_object();
    for (size_t i = 0; i < n; i++)
        json_object_array_add(data, tenant_shape(rows, i));
    json_object_object_add(links, "next",
                           db_count(rows) > n ? next_link(app->request->pool, db_text(rows, n - 1, TENANTS_ID), size)
                                              : NULL);
    json_object_object_add(document, "data", data);
    json_object_object_add(document, "links", links);
    response_json(app->response, 200, document);
    db_rows_free(rows);
}
