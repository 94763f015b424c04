/* json.c: bounded reading, exact numbers */
#include "lib/web/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "lib/meter/event.h"
#include "lib/web/text.h"

#define PLACES 6
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

/* What json-c lets pass and JSON does not: quotes of one stroke, raw control characters in strings. NULL: nothing. */
static const char *first_oddity(const char *text, size_t length)
{
    bool within = false;

    for (size_t i = 0; i < length; i++) {
        if (within ? (unsigned char)text[i] < 0x20 : text[i] == '\'')
            return text + i;
        if (text[i] == '"')
            within = !within;
        else if (text[i] == '\\' && within)
            i++;
    }
    return NULL;
}

/* NaN, Infinity and -Infinity are read by json-c although JSON has none. */
static bool is_finite(struct json_object *o)
{
    if (json_object_is_type(o, json_type_double)) {
        const char *text = json_object_get_string(o);

        return text != NULL && strpbrk(text, "nNiI") == NULL;
    }
    if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++)
            if (!is_finite(json_object_array_get_idx(o, i)))
                return false;
    } else if (json_object_is_type(o, json_type_object)) {
        json_object_object_foreach(o, name, value)
        {
            (void)name;
            if (!is_finite(value))
                return false;
        }
    }
    return true;
}

enum status json_read(const char *text, size_t length, struct json_object **out, struct json_problem *problem)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
    struct json_object *document = NULL;
    enum status s = STATUS_INVALID;
    enum json_tokener_error error;
    const char *oddity;

    *problem = (struct json_problem){0};
    if (tokener == NULL)
        return STATUS_NO_MEMORY;
    if (length > INT32_MAX - 1)
        goto out;
    if (!text_is_utf8(text, length)) {
        snprintf(problem->message, sizeof problem->message, "it is not UTF-8");
        goto out;
    }
    oddity = first_oddity(text, length);
    if (oddity != NULL) {
        problem->offset = (size_t)(oddity - text);
        snprintf(problem->message, sizeof problem->message, "a character that JSON does not allow here");
        goto out;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    /* The NUL behind the text ends a bare number; within the text it is a character like any other, and wrong. */
    document = json_tokener_parse_ex(tokener, text, (int)length);
    error = json_tokener_get_error(tokener);
    if (error == json_tokener_continue) {
        document = json_tokener_parse_ex(tokener, "", 1);
        error = json_tokener_get_error(tokener) == json_tokener_success ? json_tokener_success : json_tokener_continue;
        problem->offset = length;
    } else {
        problem->offset = json_tokener_get_parse_end(tokener);
    }
    if (error != json_tokener_success) {
        snprintf(problem->message, sizeof problem->message, "%s", what(error));
        goto out;
    }
    for (size_t i = problem->offset; i < length; i++) {
        if (strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
            continue;
        problem->offset = i;
        snprintf(problem->message, sizeof problem->message, "something stands behind the document");
        goto out;
    }
    if (!is_finite(document)) {
        snprintf(problem->message, sizeof problem->message, "NaN and Infinity are no JSON numbers");
        goto out;
    }
    *out = document;
    document = NULL;
    s = STATUS_OK;
out:
    json_object_put(document);
    json_tokener_free(tokener);
    return s;
}

static int put_document(struct json_object **held)
{
    json_object_put(*held);
    return 0;
}

struct json_object *json_pool(void *pool, struct json_object *document)
{
    struct json_object **held = talloc(pool, struct json_object *);

    if (held != NULL) {
        *held = document;
        talloc_set_destructor(held, put_document);
    }
    return document;
}

/* Reads the exponent behind "e"; false when it is none. Beyond ±EXPONENT_MAX it is as good as that. */
static bool read_exponent(const char *at, const char *end, int *out)
{
    bool minus = at < end && *at == '-';
    int value = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!isdigit((unsigned char)*at))
            return false;
        value = value > EXPONENT_MAX ? value : value * 10 + (*at - '0');
    }
    *out = minus ? -value : value;
    return true;
}

enum status json_millionths_of(const char *text, size_t length, int64_t *out)
{
    const char *end = text + length, *at = text + (length > 0 && *text == '-');
    const char *stop = at, *point = NULL;
    int exponent = 0, shift;
    int64_t value = 0;

    while (stop < end && (isdigit((unsigned char)*stop) || (*stop == '.' && point == NULL))) {
        if (*stop == '.')
            point = stop;
        stop++;
    }
    if (at == end || !isdigit((unsigned char)*at) || (point != NULL && point + 1 == stop))
        return STATUS_INVALID;
    if (*at == '0' && at + 1 < stop && isdigit((unsigned char)at[1]))
        return STATUS_INVALID;
    if (stop < end && ((*stop != 'e' && *stop != 'E') || !read_exponent(stop + 1, end, &exponent)))
        return STATUS_INVALID;
    /* digits × 10^shift are the millionths */
    shift = exponent + PLACES - (point == NULL ? 0 : (int)((stop - point - 1) > 100000 ? 100000 : stop - point - 1));
    while (shift < 0 && stop > at && (stop[-1] == '0' || stop[-1] == '.')) {
        if (*--stop == '0')
            shift++;
    }
    if (shift < 0 && stop > at)
        return STATUS_INVALID;
    for (; at < stop; at++) {
        if (*at == '.')
            continue;
        if (value > EVENT_VALUE_MAX / 10)
            return STATUS_LIMIT;
        value = value * 10 + (*at - '0');
    }
    for (; value != 0 && shift > 0; shift--) {
        if (value > EVENT_VALUE_MAX / 10)
            return STATUS_LIMIT;
        value *= 10;
    }
    if (value > EVENT_VALUE_MAX)
        return STATUS_LIMIT;
    *out = *text == '-' ? -value : value;
    return STATUS_OK;
}

enum status json_millionths(struct json_object *number, int64_t *out)
{
    const char *text;

    if (!json_object_is_type(number, json_type_int) && !json_object_is_type(number, json_type_double))
        return STATUS_INVALID;
    /* a double that was read keeps its text */
    text = json_object_get_string(number);
    return text == NULL ? STATUS_NO_MEMORY : json_millionths_of(text, strlen(text), out);
}

const char *json_millionths_text(int64_t millionths, char out[JSON_MILLIONTHS_SIZE])
{
    uint64_t size = millionths < 0 ? 0 - (uint64_t)millionths : (uint64_t)millionths;
    int n = snprintf(out, JSON_MILLIONTHS_SIZE, "%s%" PRIu64 ".%06" PRIu64, millionths < 0 ? "-" : "",
                     size / EVENT_MILLION, size % EVENT_MILLION);

    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[--n] = '\0';
    return out;
}

struct json_object *json_from_millionths(int64_t millionths)
{
    char text[JSON_MILLIONTHS_SIZE];

    return millionths % EVENT_MILLION == 0
               ? json_object_new_int64(millionths / EVENT_MILLION)
               : json_object_new_double_s((double)millionths / 1e6, json_millionths_text(millionths, text));
}

struct json_object *json_from_decimal(const char *text)
{
    int64_t millionths;

    return json_millionths_of(text, strlen(text), &millionths) == STATUS_OK ? json_from_millionths(millionths)
                                                                            : json_object_new_int(0);
}

struct json_object *json_text(const char *text)
{
    return text == NULL ? NULL : json_object_new_string(text);
}

struct json_object *json_from_percent(double percent)
{
    return percent > 1e9 ? json_object_new_double(percent) : json_from_millionths(llround(percent * 1e6));
}

bool json_has_nul(struct json_object *document)
{
    if (json_object_is_type(document, json_type_string))
        return strlen(json_object_get_string(document)) != (size_t)json_object_get_string_len(document);
    if (json_object_is_type(document, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(document); i++)
            if (json_has_nul(json_object_array_get_idx(document, i)))
                return true;
    } else if (json_object_is_type(document, json_type_object)) {
        json_object_object_foreach(document, name, value)
        {
            (void)name;
            if (json_has_nul(value))
                return true;
        }
    }
    return false;
}
