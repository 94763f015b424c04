/* json.c: bounded reading, exact numbers */
#include "lib/web/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "lib/base/decimal.h"
#include "lib/base/json_write.h"
#include "lib/base/utf8.h"
#include "lib/meter/event.h"

#define EXPONENT_MAX 1000

static const char *what(enum json_tokener_error error)
{
    switch (error) {
    case json_tokener_continue:
        return "the document ends too early";
    case json_tokener_error_depth:
        return "it is nested too deeply (32 levels at most)";
    default:
        return json_tokener_error_desc(error);
    }
}

/* What a look over a text finds before json-c builds anything of it. */
struct scan {
    const char *oddity;  /* what json-c lets pass and JSON does not, NULL: nothing */
    const char *message; /* about it */
    size_t cost;
};

/* The first byte behind `at` that is no white space. */
static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/*
 * The end of the string that starts at `at`, behind its quote. Raw control characters are no JSON; a NUL in a member's name
 * would cut the name short.
 */
static const char *scan_string(const char *at, const char *end, struct scan *found)
{
    bool nul = false;

    for (at++; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) {
            found->oddity = at;
            return end;
        }
        if (*at == '\\')
            nul = nul || (end - at > 5 && memcmp(at, "\\u0000", 6) == 0), at++;
    }
    if (at < end && nul && skip_blanks(at + 1, end) < end && *skip_blanks(at + 1, end) == ':') {
        found->oddity = at;
        found->message = "a NUL in a member's name";
    }
    return at < end ? at + 1 : end;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && isdigit((unsigned char)*at))
        at++;
    return at;
}

/* The end of the number that starts at `at`; NULL when it is none: json-c takes 01.5, PostgreSQL's jsonb does not. */
static const char *scan_number(const char *at, const char *end)
{
    const char *digits;

    at += *at == '-';
    digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at > digits + 1))
        return NULL;
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    return at;
}

static struct scan scan(const char *text, size_t length)
{
    struct scan found = {.message = "a character that JSON does not allow here"};
    const char *at = text, *end = text + length;

    while (at < end && !found.oddity) {
        if (*at == '"') {
            at = scan_string(at, end, &found);
            continue;
        }
        if (*at == '-' || isdigit((unsigned char)*at)) {
            const char *behind = scan_number(at, end);

            if (!behind) {
                found.oddity = at;
                found.message = "a number that JSON does not allow";
            }
            at = behind;
            continue;
        }
        if (*at == '\'')
            found.oddity = at;
        found.cost += *at == '{' || *at == '[' ? JSON_CONTAINER_COST : *at == ',';
        at++;
    }
    return found;
}

/* Is each value that is neither array nor object as `wanted` says, however deep it lies? */
static bool all_are(struct json_object *o, bool (*wanted)(struct json_object *o))
{
    if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++)
            if (!all_are(json_object_array_get_idx(o, i), wanted))
                return false;
        return true;
    }
    if (json_object_is_type(o, json_type_object)) {
        json_object_object_foreach(o, name, value)
        {
            (void)name;
            if (!all_are(value, wanted))
                return false;
        }
        return true;
    }
    return wanted(o);
}

/* NaN, Infinity and -Infinity are read by json-c although JSON has none. */
static bool is_finite(struct json_object *o)
{
    const char *text = json_object_is_type(o, json_type_double) ? json_object_get_string(o) : "";

    return text && !strpbrk(text, "nNiI");
}

/* Puts the message where it belongs; STATUS_INVALID. */
static enum status wrong(struct json_problem *problem, size_t offset, const char *message)
{
    problem->offset = offset;
    snprintf(problem->message, sizeof(problem->message), "%s", message);
    return STATUS_INVALID;
}

/* What json-c would take although it is wrong, and what would cost more than *budget, before anything is built. */
static enum status look_through(const char *text, size_t length, size_t *budget, struct json_problem *problem)
{
    struct scan found;

    if (length > INT32_MAX - 1)
        return STATUS_INVALID;
    if (!utf8_valid(text, length))
        return wrong(problem, 0, "it is not UTF-8");
    found = scan(text, length);
    if (found.oddity)
        return wrong(problem, (size_t)(found.oddity - text), found.message);
    if (!budget)
        return STATUS_OK;
    if (found.cost > *budget)
        return STATUS_LIMIT;
    *budget -= found.cost;
    return STATUS_OK;
}

/* The document at the beginning of the text, and where it ends. */
static enum status parse(json_tokener *tokener, const char *text, size_t length, struct json_object **document,
                         size_t *end, struct json_problem *problem)
{
    enum json_tokener_error error;

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    /* The NUL behind the text ends a bare number; within the text it is a character like any other, and wrong. */
    *document = json_tokener_parse_ex(tokener, text, (int)length);
    error = json_tokener_get_error(tokener);
    *end = length;
    if (error == json_tokener_continue) {
        *document = json_tokener_parse_ex(tokener, "", 1);
        error = json_tokener_get_error(tokener) == json_tokener_success ? json_tokener_success : json_tokener_continue;
    } else {
        *end = json_tokener_get_parse_end(tokener);
    }
    return error == json_tokener_success ? STATUS_OK : wrong(problem, *end, what(error));
}

/* Nothing but white space behind the document, and every number in it is one. */
static enum status look_behind(const char *text, size_t length, size_t end, struct json_object *document,
                               struct json_problem *problem)
{
    for (size_t i = end; i < length; i++)
        if (text[i] == '\0' || !strchr(" \t\r\n", text[i]))
            return wrong(problem, i, "there is something after the document");
    return all_are(document, is_finite) ? STATUS_OK : wrong(problem, end, "NaN and Infinity are not JSON numbers");
}

enum status json_read(const char *text, size_t length, size_t *budget, struct json_object **out,
                      struct json_problem *problem)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
    struct json_object *document = NULL;
    size_t end;
    enum status s;

    *problem = (struct json_problem){0};
    if (!tokener)
        return STATUS_NO_MEMORY;
    if ((s = look_through(text, length, budget, problem)) == STATUS_OK)
        s = parse(tokener, text, length, &document, &end, problem);
    if (s == STATUS_OK)
        s = look_behind(text, length, end, document, problem);
    if (s == STATUS_OK)
        *out = document;
    else
        json_object_put(document);
    json_tokener_free(tokener);
    return s;
}

struct json_object *json_stored(const char *text)
{
    struct json_object *document = NULL;
    struct json_problem problem;
    char *fitting = json_fit_numbers(text);

    if (fitting && json_read(fitting, strlen(fitting), NULL, &document, &problem) == STATUS_OK &&
        !json_object_is_type(document, json_type_object)) {
        json_object_put(document);
        document = NULL;
    }
    free(fitting);
    return document ? document : json_object_new_object();
}

static int put_document(struct json_object **held)
{
    json_object_put(*held);
    return 0;
}

struct json_object *json_pool(void *pool, struct json_object *document)
{
    struct json_object **held = talloc(pool, struct json_object *);

    if (held) {
        *held = document;
        talloc_set_destructor(held, put_document);
    }
    return document;
}

enum status json_millionths(struct json_object *number, int64_t *out)
{
    const char *text;

    if (!json_object_is_type(number, json_type_int) && !json_object_is_type(number, json_type_double))
        return STATUS_INVALID;
    /* a double that was read keeps its text */
    text = json_object_get_string(number);
    return !text ? STATUS_NO_MEMORY : decimal_parse(text, strlen(text), EVENT_VALUE_MAX, out);
}

struct json_object *json_from_millionths(int64_t millionths)
{
    char text[DECIMAL_SIZE];

    return millionths % DECIMAL_ONE == 0
               ? json_object_new_int64(millionths / DECIMAL_ONE)
               : json_object_new_double_s((double)millionths / 1e6, decimal_text(millionths, text));
}

struct json_object *json_text(const char *text)
{
    return !text ? NULL : json_object_new_string(text);
}

struct json_object *json_from_percent(double percent)
{
    return percent > 1e9 ? json_object_new_double(percent) : json_from_millionths(llround(percent * 1e6));
}

/* A number's text that a numeric of PostgreSQL holds: 131,072 digits before the point and 16,383 behind it at most. */
static bool is_moderate(const char *text)
{
    const char *e = strpbrk(text, "eE");
    long exponent = !e ? 0 : strtol(e + 1, NULL, 10); /* what is out of range gives the outermost long */

    return strlen(text) <= 1000 && exponent >= -EXPONENT_MAX && exponent <= EXPONENT_MAX;
}

static bool fits_numeric(struct json_object *o)
{
    if (json_object_is_type(o, json_type_double)) {
        const char *text = json_object_get_string(o);

        return text && is_moderate(text);
    }
    return !json_object_is_type(o, json_type_int) ||
           (json_object_get_int64(o) != INT64_MIN && json_object_get_uint64(o) != UINT64_MAX);
}

bool json_fits_database(struct json_object *document)
{
    return all_are(document, fits_numeric);
}

static bool has_no_nul(struct json_object *o)
{
    return !json_object_is_type(o, json_type_string) ||
           strlen(json_object_get_string(o)) == (size_t)json_object_get_string_len(o);
}

bool json_has_nul(struct json_object *document)
{
    return !all_are(document, has_no_nul);
}
