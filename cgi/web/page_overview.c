/* page_overview.c: one tenant's usage against its plan */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/page.h"
#include "lib/base/address.h"
#include "lib/meter/standing.h"
#include "lib/store/query.h"
#include "lib/store/refusals.h"
#include "lib/store/usage.h"

#define ENDPOINTS 10
#define MILLION INT64_C(1000000)

struct overview {
    struct usage_report report;
    struct db_rows *period, *days, *endpoints, *refusals;
};

static const char *number_of(int64_t whole, char out[PAGE_NUMBER_SIZE])
{
    return page_number(whole * MILLION, out);
}

/* What the word means, for who sees no colours; how the card looks. */
static const char *sign_of(const struct standing *s)
{
    if (s->verdict.unlimited && s->kind == STANDING_WITHIN)
        return "\u221e";
    switch (s->kind) {
    case STANDING_REFUSED:
        return s->verdict.used > s->verdict.limit ? "\u25b2" : "\u25a0";
    case STANDING_WITHIN:
        return "\u2713";
    default:
        return "\u25b3";
    }
}

static const char *word_of(void *pool, const struct standing *s)
{
    return talloc_asprintf(pool, "%s %s", sign_of(s), standing_word(s));
}

static const char *look_of(const struct standing *s)
{
    if (s->kind == STANDING_REFUSED)
        return "over";
    if (s->verdict.unlimited)
        return "none";
    return s->kind == STANDING_WITHIN ? "ok" : "near";
}

/* An amount with its unit as people say it: less than a tenth of a GB is said in MB. */
static const char *amount(void *pool, const struct standing_limit *l, int64_t millionths)
{
    char text[PAGE_NUMBER_SIZE];

    if (strcmp(l->unit, "GB") != 0)
        return talloc_strdup(pool, page_number(millionths, text));
    if (millionths > 0 && millionths < MILLION / 10)
        return talloc_asprintf(pool, "%s MB", page_number(millionths * 1000 / 100000 * 100000, text));
    return talloc_asprintf(pool, "%s GB", page_number(millionths / 10000 * 10000, text));
}

static const char *of_what(void *pool, const struct standing_limit *l)
{
    const char *most = amount(pool, l, l->at.verdict.limit);

    return strcmp(l->unit, "GB") == 0 ? talloc_asprintf(pool, "of %s", most)
                                      : talloc_asprintf(pool, "of %s %s", most, l->unit);
}

static void show_warning(void *pool, struct template_dict *warnings, const struct standing_limit *l)
{
    struct template_dict *warning = template_section(warnings, "WARNING");
    char words[STANDING_WORDS_SIZE];

    standing_words(&l->at, words);
    template_set(warning, "LOOK", look_of(&l->at));
    template_set(warning, "WORD", word_of(pool, &l->at));
    template_set(warning, "TEXT",
                 talloc_asprintf(pool, "%s: %s %s, %.0f\u202f%%%s%s", l->label, amount(pool, l, l->at.verdict.used),
                                 of_what(pool, l), l->at.percent, words[0] ? ". " : "", words));
}

/* The bar, how much is left, and the percentage. */
static void show_share(void *pool, struct template_dict *card, const struct standing_limit *l)
{
    const struct limit_verdict *v = &l->at.verdict;
    double percent = l->at.percent;

    template_set(card, "OF", of_what(pool, l));
    template_set(card, "REST",
                 v->used > v->limit ? talloc_asprintf(pool, "%s over", amount(pool, l, v->used - v->limit))
                                    : talloc_asprintf(pool, "%s left", amount(pool, l, v->limit - v->used)));
    template_set(card, "PERCENT",
                 percent > 0 && percent < 1 ? "< 1\u202f%" : talloc_asprintf(pool, "%.0f\u202f%%", percent));
    template_set(template_section(card, "FILL"), "WIDTH",
                 talloc_asprintf(pool, "%.2f", percent > 100 ? 100.0 : percent));
}

static void show_limit(void *pool, struct template_dict *d, const struct standing_limit *l)
{
    struct template_dict *card = template_section(d, "LIMIT");
    const struct limit_verdict *v = &l->at.verdict;
    char words[STANDING_WORDS_SIZE];

    template_set(card, "LOOK", look_of(&l->at));
    template_set(card, "LABEL", l->label);
    template_set(card, "WORD", word_of(pool, &l->at));
    template_set(card, "USED", amount(pool, l, l->known ? v->used : v->limit));
    if (!l->known) {
        template_set(card, "OF", talloc_asprintf(pool, "%s in any %s", l->unit, l->window));
        template_set(card, "WORD", "\u2713 Refills evenly");
    } else if (v->unlimited) {
        template_set(card, "OF", strcmp(l->unit, "GB") == 0 ? "" : l->unit);
        template_set(card, "REST", "No limit");
    } else {
        show_share(pool, card, l);
    }
    if (standing_words(&l->at, words)[0] && !standing_of_tenant(l->at.of.tenant)) /* which the page says once */
        template_set(template_section(card, "SAY"), "WORDS", words);
}

/* The plan has none of it, and there is none. */
static bool left_out(const struct standing_limit *l)
{
    return l->known && l->at.verdict.limit == 0 && l->at.verdict.used == 0;
}

/* Limited, or used; a metric whose other limits are shown is not shown once more for one that limits nothing. */
static bool is_shown(const struct usage_report *r, size_t i)
{
    const struct standing_limit *l = &r->limit[i];

    if (left_out(l) || (l->at.verdict.unlimited && (!l->known || l->at.verdict.used == 0)))
        return false;
    for (size_t k = 0; l->at.verdict.unlimited && k < r->n; k++)
        if (k != i && strcmp(r->limit[k].metric, l->metric) == 0 && r->limit[k].known &&
            (k < i || !r->limit[k].at.verdict.unlimited))
            return false;
    return true;
}

/* What a plan leaves out is said once, not in a card each. */
static void show_left_out(struct template_dict *d, const struct usage_report *r)
{
    struct template_dict *card = NULL;

    for (size_t i = 0; i < r->n; i++) {
        if (!left_out(&r->limit[i]))
            continue;
        if (!card)
            card = template_section(d, "LEFT_OUT");
        template_set(template_section(card, "WHAT"), "LABEL", r->limit[i].label);
    }
}

static bool warns(const struct standing_limit *l)
{
    return l->known && l->at.percent > STANDING_NEAR_PERCENT;
}

/* Warnings in words, what is refused first. */
static void show_warnings(void *pool, struct template_dict *d, const struct usage_report *r)
{
    struct template_dict *warnings = NULL;

    for (int refused = 1; refused >= 0; refused--)
        for (size_t i = 0; i < r->n; i++) {
            const struct standing_limit *l = &r->limit[i];

            if (!warns(l) || (l->at.kind == STANDING_REFUSED) != refused)
                continue;
            if (!warnings)
                warnings = template_section(d, "WARNINGS");
            show_warning(pool, warnings, l);
        }
}

static void show_limits(void *pool, struct template_dict *d, const struct usage_report *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (is_shown(r, i))
            show_limit(pool, d, &r->limit[i]);
    show_left_out(d, r);
}

/* How the first call is made: the address as the tenant's programs see it. */
static void show_no_calls(struct app *app, struct template_dict *days)
{
    const char *url = app->config->web.public_url;
    struct template_dict *d = template_section(days, "NO_CALLS");

    template_set(d, "ORIGIN", url[0] == '\0' ? "https://your-service.example" : url);
    template_set(d, "PREFIX", address_base(app->config->gate.prefix[0]));
    if (app->caller.role == ROLE_OPERATOR)
        template_set(template_section(d, "MAKE_KEY"), "TENANT", app->tenant);
    else
        template_show(d, "ASK_KEY");
}

static void show_days(struct app *app, struct template_dict *page, const struct db_rows *days)
{
    void *pool = app->request->pool;
    struct template_dict *d;
    char text[PAGE_NUMBER_SIZE];
    int64_t peak = 0, total = 0;
    size_t n = db_count(days);

    for (size_t i = 0; i < n; i++) {
        total += db_int(days, i, 1);
        peak = db_int(days, i, 1) > peak ? db_int(days, i, 1) : peak;
    }
    if (total == 0) {
        show_no_calls(app, page);
        return;
    }
    d = template_section(page, "DAYS");
    for (size_t i = 0; i < n; i++) {
        struct template_dict *day = template_section(d, "DAY");
        int64_t calls = db_int(days, i, 1);
        double height = calls == 0 ? 1 : 2 + 96.0 * (double)calls / (double)peak;

        template_set(day, "LOOK", calls == 0 ? "zero" : "some");
        template_set(day, "X", talloc_asprintf(pool, "%zu", i * 10 + 1));
        template_set(day, "Y", talloc_asprintf(pool, "%.2f", 100 - height));
        template_set(day, "H", talloc_asprintf(pool, "%.2f", height));
        template_set(day, "DATE", db_text(days, i, 0));
        template_set(day, "CALLS", number_of(calls, text));
    }
    template_set(d, "TOTAL", number_of(total, text));
    template_set(d, "PEAK", number_of(peak, text));
    template_set(d, "FIRST_DAY", n == 0 ? "" : db_text(days, 0, 0));
    template_set(d, "LAST_DAY", n == 0 ? "" : db_text(days, n - 1, 0));
}

static void show_endpoints(struct template_dict *d, const struct db_rows *rows)
{
    struct template_dict *list = db_count(rows) == 0 ? NULL : template_section(d, "ENDPOINTS");
    char text[PAGE_NUMBER_SIZE];

    for (size_t i = 0; i < db_count(rows); i++) {
        struct template_dict *row = template_section(list, "ENDPOINT");

        template_set(row, "METHOD", db_text(rows, i, 0));
        template_set(row, "PATH", db_text(rows, i, 1));
        template_set(row, "CALLS", number_of(db_int(rows, i, 2), text));
    }
}

/* What limits refused lately, the most refused first. */
static void show_refusals(struct template_dict *d, const struct db_rows *rows)
{
    struct template_dict *list = db_count(rows) == 0 ? NULL : template_section(d, "REFUSALS");
    char text[PAGE_NUMBER_SIZE];

    for (size_t i = 0; i < db_count(rows); i++) {
        struct template_dict *row = template_section(list, "REFUSAL");

        template_set(row, "COUNT", number_of(db_int(rows, i, 3), text));
        template_set(row, "LABEL", db_text(rows, i, db_null(rows, i, 1) ? 0 : 1));
        template_set(row, "LAST", db_text(rows, i, 5));
    }
}

static void show(struct app *app, const struct overview *o)
{
    const struct usage_report *r = &o->report;
    struct template_dict *d = page_open(app, r->tenant_name);
    int64_t left = db_int(o->period, 0, 1);
    void *pool = app->request->pool;

    template_set(d, "REFRESH_PATH", page_tenant_path(app, app->tenant, "/refresh"));
    template_set(d, "NAME", r->tenant_name);
    template_set(d, "PLAN", r->subscribed ? r->tier_name : "No plan");
    template_set(d, "START", r->usage.period_start);
    template_set(d, "END", r->usage.period_end);
    template_set(d, "LEFT", talloc_asprintf(pool, "%" PRId64 " %s left", left, left == 1 ? "day" : "days"));
    template_set(d, "ZONE", db_text(o->period, 0, 0));
    template_set(d, "UPDATED", db_text(o->period, 0, 3));
    if (app->caller.role >= ROLE_ADMIN)
        template_show(d, "REFRESH");
    if (request_query(app->request, "counted"))
        template_show(d, "NOTICE");
    if (standing_of_tenant(r->state))
        template_set(template_section(d, "REFUSED"), "WHY", standing_of_tenant(r->state));
    show_warnings(pool, d, r);
    show_limits(pool, d, r);
    show_days(app, d, o->days);
    show_refusals(d, o->refusals);
    show_endpoints(d, o->endpoints);
    page_send(app, 200, "overview.tpl", d);
}

void page_overview(struct app *app)
{
    struct overview o = {0};
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = usage_report_read(app->db, app->tenant, &o.report);
    if (s == STATUS_OK)
        s = overview_period(app->db, app->tenant, &o.period);
    if (s == STATUS_OK)
        s = overview_days(app->db, app->tenant, &o.days);
    if (s == STATUS_OK)
        s = overview_endpoints(app->db, app->tenant, ENDPOINTS, &o.endpoints);
    if (s == STATUS_OK)
        s = refusals_lately(app->db, app->tenant, &o.refusals);
    s = app_end(app, s);
    if (s == STATUS_OK)
        show(app, &o);
    else
        app_fail(app, s, "overview");
    db_rows_free(o.refusals);
    db_rows_free(o.endpoints);
    db_rows_free(o.days);
    db_rows_free(o.period);
    usage_report_term(&o.report);
}

void page_start(struct app *app)
{
    if (app->caller.role == ROLE_OPERATOR)
        response_redirect(app->response, "/tenants");
    else
        page_overview(app);
}

void page_refresh(struct app *app)
{
    enum status s = app_begin(app);

    if (s == STATUS_OK)
        s = usage_refresh(app->db, app->tenant);
    s = app_end(app, s);
    if (s != STATUS_OK)
        app_fail(app, s, "refresh");
    else
        response_redirect(app->response, page_tenant_path(app, app->tenant, "?counted=1"));
}
