/* page_tenants.c: the operator's list, the tenants nearest to a limit first */
#include <stdio.h>
#include <string.h>

#include "cgi/web/page.h"
#include "lib/store/tenants.h"

#define ROWS 50

static const char *look_of(const struct standing *s)
{
    if (s->kind == STANDING_REFUSED)
        return "over";
    return s->kind == STANDING_WITHIN ? "ok" : "near";
}

/* What stands in the last column: a percentage, or that nothing is limited or used. */
static void show_used(struct template_dict *row, const struct tenant_standing *t)
{
    const struct limit_verdict *v = &t->worst.verdict;
    double percent = t->worst.percent;
    bool used = !v->unlimited && v->used > 0;
    char text[32] = "Unlimited", width[32];

    if (used)
        snprintf(text, sizeof(text), percent > 0 && percent < 1 ? "< 1\u202f%%" : "%.0f\u202f%%", percent);
    else if (!v->unlimited)
        snprintf(text, sizeof(text), "Unused");
    snprintf(width, sizeof(width), "%.2f", percent > 100 ? 100.0 : percent);
    template_set(row, "LIMIT", used ? t->limit : "None");
    template_set(row, "PERCENT", t->state == LIMIT_TENANT_NO_SUBSCRIPTION ? "None" : text);
    if (used)
        template_set(template_section(row, "FILL"), "WIDTH", width);
}

static void show_row(const struct app *app, struct template_dict *list, const struct tenant_standing *t)
{
    struct template_dict *row = template_section(list, "ROW");
    const char *all = standing_of_tenant(t->state);
    bool shown = all || t->worst.verdict.used > 0;

    template_set(row, "ID", t->id);
    template_set(row, "PATH", page_tenant_path(app, t->id, ""));
    template_set(row, "NAME", t->name);
    template_set(row, "PLAN", t->state == LIMIT_TENANT_NO_SUBSCRIPTION ? "No plan" : t->tier);
    template_set(row, "STATE", !all ? "" : all);
    if (all)
        template_set(template_section(row, "OFF"), "STATE", all);
    show_used(row, t);
    template_set(row, "LOOK", shown ? look_of(&t->worst) : "ok");
    template_set(row, "WORD", shown && (t->worst.kind != STANDING_WITHIN) ? standing_word(&t->worst) : "");
}

void page_tenants(struct app *app)
{
    const struct request *r = app->request;
    const char *search = request_query(r, "q");
    struct template_dict *d, *list, *more;
    struct tenant_page page = {0};
    enum status s = db_begin(app->db, NULL);

    if (s == STATUS_OK)
        s = tenants_by_percent(app->db, request_query(r, "percent"), request_query(r, "after"), search, &page,
                               ROWS + 1);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        if (s == STATUS_INVALID)
            app_error(app, 400, "query_invalid", "This is not a page of the list", "Open the list again.");
        else
            app_fail(app, s, "tenants");
        tenants_page_term(&page);
        return;
    }
    d = page_open(app, "Tenants");
    template_set(d, "SEARCH", !search ? "" : search);
    if (page.n == 0)
        template_show(d, "EMPTY");
    list = page.n == 0 ? NULL : template_section(d, "LIST");
    for (size_t i = 0; i < page.n && i < ROWS; i++)
        show_row(app, list, &page.tenants[i]);
    if (page.n > ROWS) {
        more = template_section(d, "MORE");
        template_set(more, "AFTER", page.tenants[ROWS - 1].percent);
        template_set(more, "AFTER_ID", page.tenants[ROWS - 1].id);
    }
    page_send(app, 200, "tenants.tpl", d);
    tenants_page_term(&page);
}
