/* page_tenants.c: the operator's list, the tenants nearest to a limit first */
#include <stdio.h>
#include <string.h>

#include "cgi/web/page.h"
#include "lib/store/tenants.h"

#define ROWS 50

static void show_row(const struct app *app, struct template_dict *list, const struct db_rows *rows, size_t i)
{
    struct template_dict *row = template_section(list, "ROW");
    double percent = db_double(rows, i, 4), max = db_double(rows, i, 7);
    bool limited = !db_null(rows, i, 7) && max >= 0, used = db_double(rows, i, 6) > 0,
         active = strcmp(db_text(rows, i, 3), "active") == 0;
    char text[32] = "Unlimited", width[32];

    if (limited && used)
        snprintf(text, sizeof(text), percent > 0 && percent < 1 ? "< 1\u202f%%" : "%.0f\u202f%%", percent);
    else if (limited)
        snprintf(text, sizeof(text), "Unused");
    snprintf(width, sizeof(width), "%.2f", percent > 100 ? 100.0 : percent);
    template_set(row, "ID", db_text(rows, i, 0));
    template_set(row, "PATH", page_tenant_path(app, db_text(rows, i, 0), ""));
    template_set(row, "NAME", db_text(rows, i, 1));
    template_set(row, "PLAN", db_text(rows, i, 2)[0] == '\0' ? "No plan" : db_text(rows, i, 2));
    template_set(row, "STATE", active ? "" : db_text(rows, i, 3));
    if (!active)
        template_set(template_section(row, "OFF"), "STATE", db_text(rows, i, 3));
    template_set(row, "LIMIT", limited && used ? db_text(rows, i, 5) : "None");
    template_set(row, "PERCENT", text);
    if (limited && used)
        template_set(template_section(row, "FILL"), "WIDTH", width);
    template_set(row, "LOOK", percent >= 100 ? "over" : percent > 80 ? "near" : "ok");
    template_set(row, "WORD",
                 percent > 100    ? "exceeded"
                 : percent >= 100 ? "reached"
                 : percent > 80   ? "approaching"
                                  : "");
}

void page_tenants(struct app *app)
{
    const struct request *r = app->request;
    const char *search = request_query(r, "q");
    struct template_dict *d, *list, *more;
    struct db_rows *rows = NULL;
    enum status s = db_begin(app->db, NULL);
    size_t n;

    if (s == STATUS_OK)
        s = tenants_by_percent(app->db, request_query(r, "percent"), request_query(r, "after"), search, ROWS + 1,
                               &rows);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        if (s == STATUS_INVALID)
            app_error(app, 400, "query_invalid", "This is not a page of the list", "Open the list again.");
        else
            app_fail(app, s, "tenants");
        return;
    }
    d = page_open(app, "Tenants");
    template_set(d, "SEARCH", !search ? "" : search);
    n = db_count(rows);
    if (n == 0)
        template_show(d, "EMPTY");
    list = n == 0 ? NULL : template_section(d, "LIST");
    for (size_t i = 0; i < n && i < ROWS; i++)
        show_row(app, list, rows, i);
    if (n > ROWS) {
        more = template_section(d, "MORE");
        template_set(more, "AFTER", db_text(rows, ROWS - 1, 4));
        template_set(more, "AFTER_ID", db_text(rows, ROWS - 1, 0));
    }
    page_send(app, 200, "tenants.tpl", d);
    db_rows_free(rows);
}
