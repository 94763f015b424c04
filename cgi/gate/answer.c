/* answer.c: the gate's answers: admitted, refused, limited */
#include "cgi/gate/answer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/decimal.h"
#include "lib/base/json_write.h"

#define QUOTA_TYPE "https://iana.org/assignments/http-problem-types#quota-exceeded"
#define BODY_SIZE 2048
#define FIELDS_SIZE 2048

static void add(struct answer *a, const char *format, ...) PRINTF_LIKE(2, 3);

static void add(struct answer *a, const char *format, ...)
{
    size_t room = sizeof(a->bytes) - a->length;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(a->bytes + a->length, room, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < room)
        a->length += (size_t)n;
}

/* Seconds from now until `us`, rounded up: never early. */
static int64_t seconds_until(int64_t us, int64_t now_us)
{
    return us <= now_us ? 0 : (us - now_us + CLOCK_US_PER_SECOND - 1) / CLOCK_US_PER_SECOND;
}

static int64_t whole(int64_t millionths)
{
    return millionths / EVENT_MILLION;
}

static int64_t window_seconds(const struct limit_answer *taken, uint32_t i)
{
    if (taken->limits[i].window == LIMIT_WINDOW_MINUTE)
        return 60;
    return (taken->limits[i].end_us - taken->limits[i].start_us) / CLOCK_US_PER_SECOND;
}

/*
 * RateLimit-Policy and RateLimit (IETF draft ratelimit-headers, 2025-09) of every limit with a window that is limited.
 * `twice`: as variables too, for lighttpd, which drops the headers of an authorizer's 200.
 */
static void add_rate_limits(struct answer *a, const struct limit_catalogue *c, const struct limit_answer *taken,
                            int64_t now_us, bool twice)
{
    static const char *const names[] = {"RateLimit-Policy", "RateLimit"};
    static const char *const variables[] = {"TOLLGATE_RATELIMIT_POLICY", "TOLLGATE_RATELIMIT"};
    for (int field = 0; field < 2; field++) {
        bool first = true;
        size_t value = a->length;
        for (uint32_t i = 0; i < taken->n; i++) {
            const struct limit_verdict *v = &taken->limits[i].verdict;
            const char *key = c->limits[taken->limits[i].slot].key, *of_key = taken->limits[i].of_key ? "key:" : "";
            if (v->unlimited || taken->limits[i].window == LIMIT_WINDOW_NONE)
                continue;
            if (first) {
                add(a, "%s: ", names[field]);
                value = a->length;
            } else
                add(a, ", ");
            first = false;
            if (field)
                add(a, "\"%s%s\";r=%" PRId64 ";t=%" PRId64, of_key, key, whole(v->remaining),
                    seconds_until(v->resets_us, now_us));
            else
                add(a, "\"%s%s\";q=%" PRId64 ";w=%" PRId64, of_key, key, whole(v->limit), window_seconds(taken, i));
        }
        if (first)
            continue;
        int length = (int)(a->length - value);
        add(a, "\r\n");
        if (twice)
            add(a, "Variable-%s: %.*s\r\n", variables[field], length, a->bytes + value);
    }
}

/* A header's value: the tenant's id or tier may hold anything; what can't stand in a header becomes '?'. */
static void add_value(struct answer *a, const char *name, const char *value)
{
    add(a, "%s: ", name);
    for (; *value && a->length < sizeof(a->bytes) - 1; value++)
        a->bytes[a->length++] = (unsigned char)*value < 0x20 || *value == 0x7f ? '?' : *value;
    add(a, "\r\n");
}

void answer_pass(struct answer *a, bool own)
{
    a->length = 0;
    add(a, "Status: 200 OK\r\nVariable-TOLLGATE_GATE: %s\r\n\r\n", own ? "own" : "passed");
}

/* The least that is left of the call's limits; what a gauge has room for is no number of calls. */
static void add_remaining(struct answer *a, const struct limit_answer *taken)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < taken->n; i++) {
        const struct limit_verdict *v = &taken->limits[i].verdict;
        if (!v->unlimited && taken->limits[i].window != LIMIT_WINDOW_NONE && v->remaining < least)
            least = v->remaining;
    }
    if (least == INT64_MAX)
        add(a, "Variable-TOLLGATE_REMAINING: unlimited\r\n");
    else
        add(a, "Variable-TOLLGATE_REMAINING: %" PRId64 "\r\n", whole(least));
}

void answer_admit(struct answer *a, const struct limit_catalogue *catalogue, const struct limit_answer *taken,
                  int64_t now_us)
{
    a->length = 0;
    add(a, "Status: 200 OK\r\nVariable-TOLLGATE_GATE: metered\r\n");
    add_value(a, "Variable-TOLLGATE_TENANT", taken->tenant);
    add_value(a, "Variable-TOLLGATE_TIER", taken->tier);
    add_remaining(a, taken);
    add_rate_limits(a, catalogue, taken, now_us, true);
    add(a, "\r\n");
}

static const char *reason_phrase(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 402:
        return "Payment Required";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 414:
        return "URI Too Long";
    case 429:
        return "Too Many Requests";
    default:
        return "Service Unavailable";
    }
}

/* Headers and body of a refusal; `fields` are complete header lines. */
static void add_refusal(struct answer *a, const struct answer_form *form, int status, const char *fields,
                        const char *body)
{
    const char *type = form->html ? "text/html; charset=utf-8" : "application/problem+json";
    char shown[17];
    snprintf(shown, sizeof(shown), "%016" PRIx64, form->number);
    a->length = 0;
    if (form->nginx) {
        add(a,
            "Status: 403 Forbidden\r\n%sX-Request-Id: %s\r\nX-Tollgate-Status: %d\r\nX-Tollgate-Type: %s\r\n"
            "X-Tollgate-Body: %s\r\n\r\n",
            fields, shown, status, type, body);
        return;
    }
    add(a,
        "Status: %d %s\r\n%sX-Request-Id: %s\r\nContent-Type: %s\r\nX-Tollgate-Type: %s\r\nCache-Control: private, "
        "no-store\r\n",
        status, reason_phrase(status), fields, shown, type,
        type); /* Apache loses an authorizer's Content-Type; its conf mends it by the other */
    if (form->html)
        add(a, "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'\r\n");
    add(a, "\r\n%s", form->head ? "" : body);
}

/* As tollgate-web's error pages look, on one line: behind nginx it travels in a header. */
static void html_page(char body[BODY_SIZE], const struct answer_form *form, int status, const char *title,
                      const char *detail)
{
    snprintf(body, BODY_SIZE,
             "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
             "content=\"width=device-width, initial-scale=1\"><title>%s &middot; Tollgate</title><link "
             "rel=\"stylesheet\" href=\"%s/static/tollgate.css\"><link rel=\"icon\" href=\"%s/static/favicon.svg\" "
             "type=\"image/svg+xml\"></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a><header "
             "class=\"top\"><div><a class=\"brand\" href=\"%s/\"><img src=\"%s/static/favicon.svg\" width=\"24\" "
             "height=\"24\" alt=\"\">Tollgate</a></div></header><main id=\"main\"><div class=\"head\"><div><p "
             "class=\"quiet\">Error %d</p><h1>%s</h1></div></div><p>%s</p><p><a href=\"%s/\">Go to the start "
             "page</a></p><p class=\"quiet\">Request %016" PRIx64 "</p></main></body></html>",
             title, form->pages, form->pages, form->pages, form->pages, status, title, detail, form->pages,
             form->number);
}

/* RFC 9457; `violated`: the limit's key, or NULL. */
static void problem_document(char body[BODY_SIZE], const struct answer_form *form, const char *type, const char *title,
                             int status, const char *error, const char *code, const char *detail, const char *violated)
{
    char instance[48];
    struct json_write w;
    snprintf(instance, sizeof(instance), "urn:request:%016" PRIx64, form->number);
    json_write_begin(&w, body, BODY_SIZE);
    json_write_text(&w, "type", type);
    json_write_text(&w, "title", title);
    json_write_integer(&w, "status", status);
    json_write_text(&w, "error", error);
    json_write_text(&w, "code", code);
    json_write_text(&w, "detail", detail);
    json_write_text(&w, "instance", instance);
    if (violated) {
        json_write_array(&w, "violated-policies");
        json_write_text(&w, NULL, violated);
    }
    json_write_end(&w);
}

void answer_refuse(struct answer *a, const struct answer_form *form, const struct answer_problem *p)
{
    char body[BODY_SIZE];
    if (form->html)
        html_page(body, form, p->status, p->title, p->detail);
    else
        problem_document(body, form, "about:blank", p->title, p->status, p->title, p->code, p->detail, NULL);
    add_refusal(a, form, p->status, p->header ? p->header : "", body);
}

#define WORDS_SIZE 512

static const char *window_words(uint8_t window)
{
    switch (window) {
    case LIMIT_WINDOW_MINUTE:
        return "in a minute";
    case LIMIT_WINDOW_HOUR:
        return "in this hour";
    case LIMIT_WINDOW_DAY:
        return "today";
    case LIMIT_WINDOW_WEEK:
        return "in this week";
    default:
        return "in this period";
    }
}

/* Which limit refused, how much of it is used, and when that changes. */
static void limited_words(char words[WORDS_SIZE], const struct limit_catalogue *catalogue,
                          const struct limit_answer *taken, uint32_t i)
{
    const struct limit_verdict *v = &taken->limits[i].verdict;
    const char *metric = catalogue->metrics[taken->limits[i].metric].name;
    const char *what = strcmp(metric, "api_call") == 0 ? "API call" : metric;
    int places = taken->limits[i].window == LIMIT_WINDOW_NONE ? 3 : 0;
    char used[DECIMAL_SIZE], limit[DECIMAL_SIZE], resets[CLOCK_RFC3339_SIZE] = "";

    decimal_grouped(v->limit, places, ",", limit);
    decimal_grouped(v->used, places, ",", used);
    clock_rfc3339(resets, v->resets_us, taken->limits[i].end_offset_s, 0);
    if (taken->limits[i].window == LIMIT_WINDOW_MINUTE)
        snprintf(words, WORDS_SIZE, "%s limit%s reached: %s %s, the next passes at %s", what,
                 taken->limits[i].of_key ? " of this key" : "", limit, window_words(LIMIT_WINDOW_MINUTE), resets);
    else if (taken->limits[i].window == LIMIT_WINDOW_NONE)
        snprintf(words, WORDS_SIZE, "%s limit reached: %s of %s are in use, the call passes when there is room", what,
                 used, limit);
    else
        snprintf(words, WORDS_SIZE, "%s limit reached: %s of %s %s, resets %s", what, used, limit,
                 window_words(taken->limits[i].window), resets);
}

void answer_limited(struct answer *a, const struct answer_form *form, const struct limit_catalogue *catalogue,
                    const struct limit_answer *taken, int64_t now_us)
{
    uint32_t i = taken->decisive >= 0 ? (uint32_t)taken->decisive : 0;
    const struct limit_verdict *v = &taken->limits[i].verdict;
    bool gauge = taken->limits[i].window == LIMIT_WINDOW_NONE;
    char words[WORDS_SIZE], body[BODY_SIZE], policy[LIMIT_NAME_SIZE + 4];

    snprintf(policy, sizeof(policy), "%s%s", taken->limits[i].of_key ? "key:" : "",
             catalogue->limits[taken->limits[i].slot].key);

    limited_words(words, catalogue, taken, i);
    if (form->html)
        html_page(body, form, LIMIT_STATUS_REACHED, "Limit reached", words);
    else
        problem_document(body, form, QUOTA_TYPE, "Request cannot be satisfied as assigned quota has been exceeded",
                         LIMIT_STATUS_REACHED, words, limit_reason_code(LIMIT_REACHED),
                         gauge ? "Make room, or ask for a larger plan."
                               : "Wait until the limit resets, or ask for a larger plan.",
                         policy);

    struct answer fields = {.length = 0};
    add_rate_limits(&fields, catalogue, taken, now_us, false);
    if (v->resets_us > 0)
        add(&fields, "Retry-After: %" PRId64 "\r\n", seconds_until(v->resets_us, now_us));
    fields.bytes[fields.length < FIELDS_SIZE ? fields.length : 0] = '\0';
    add_refusal(a, form, LIMIT_STATUS_REACHED, fields.bytes, body);
}
