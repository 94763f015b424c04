/*
 * json.c: any bytes as a body: what is accepted is JSON by the letter (RFC 8259), costs what it was said to cost, is no deeper
 * than allowed, and reads the same when it is written and read again. Any text as a number: exact, or refused.
 */
#include <talloc.h>

#include "lib/base/decimal.h"
#include "lib/meter/event.h"
#include "lib/web/json.h"
#include "tests/fuzz/input.h"

#define BUDGET 400

/* ---- the grammar, once more: each returns what stands behind the thing, NULL when it is not there ---- */

static const char *blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

static const char *digits(const char *at)
{
    size_t n = strspn(at, "0123456789");
    return n ? at + n : NULL;
}

static const char *number(const char *at)
{
    at += *at == '-';
    at = *at == '0' ? at + 1 : digits(at);
    if (at && *at == '.')
        at = digits(at + 1);
    if (at && (*at == 'e' || *at == 'E')) {
        at++;
        at = digits(at + (*at == '-' || *at == '+'));
    }
    return at;
}

static const char *string(const char *at)
{
    if (*at != '"')
        return NULL;
    for (at++; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at != '\\')
            continue;
        at++;
        if (*at == 'u' && strspn(at + 1, "0123456789abcdefABCDEF") >= 4)
            at += 4;
        else if (*at == '\0' || !strchr("\"\\/bfnrt", *at))
            return NULL;
    }
    return at + 1;
}

static const char *value(const char *at, int depth);

/* The members of an object or array, up to its end. */
static const char *members(const char *at, bool named, char end, int depth)
{
    at = blanks(at);
    if (*at == end)
        return at + 1;
    for (;;) {
        if (named) {
            at = string(at);
            if (!at || *(at = blanks(at)) != ':')
                return NULL;
            at = blanks(at + 1);
        }
        at = value(at, depth + 1);
        if (!at)
            return NULL;
        at = blanks(at);
        if (*at == end)
            return at + 1;
        if (*at != ',')
            return NULL;
        at = blanks(at + 1);
    }
}

static const char *value(const char *at, int depth)
{
    must(depth <= JSON_DEPTH + 1);
    if (*at == '{' || *at == '[')
        return members(at + 1, *at == '{', *at == '{' ? '}' : ']', depth);
    if (*at == '"')
        return string(at);
    for (int i = 0; i < 3; i++) {
        static const char *const words[] = {"true", "false", "null"};
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    }
    return number(at);
}

/* ---- what was read ---- */

/* What a document costs by json.h; its root costs nothing unless it is a container. */
static size_t cost_of(struct json_object *o, int depth)
{
    size_t cost = 0;
    must(depth <= JSON_DEPTH);
    if (json_object_is_type(o, json_type_array)) {
        size_t n = json_object_array_length(o);
        cost = JSON_CONTAINER_COST + (n ? n - 1 : 0);
        for (size_t i = 0; i < n; i++)
            cost += cost_of(json_object_array_get_idx(o, i), depth + 1);
    } else if (json_object_is_type(o, json_type_object)) {
        size_t n = (size_t)json_object_object_length(o);
        cost = JSON_CONTAINER_COST + (n ? n - 1 : 0);
        json_object_object_foreach(o, name, member)
        {
            (void)name;
            cost += cost_of(member, depth + 1);
        }
    }
    return cost;
}

static void read_document(const char *text, size_t length)
{
    size_t budget = BUDGET, unbounded;
    struct json_object *document = NULL, *again = NULL;
    struct json_problem problem;
    enum status s = json_read(text, length, &budget, &document, &problem);
    must(s == STATUS_OK || s == STATUS_INVALID || s == STATUS_LIMIT);
    must(budget <= BUDGET && problem.offset <= length && memchr(problem.message, '\0', sizeof problem.message));
    if (s == STATUS_OK) {
        const char *end = value(blanks(text), 0), *written;
        must(end && blanks(end) == text + length && cost_of(document, 0) <= BUDGET - budget);
        json_has_nul(document);
        json_fits_database(document);
        written = json_object_to_json_string_length(document, JSON_WRITE_FLAGS, &unbounded);
        must(json_read(written, unbounded, NULL, &again, &problem) == STATUS_OK);
        must(strcmp(written, json_object_to_json_string_ext(again, JSON_WRITE_FLAGS)) == 0);
        json_object_put(again);
    } else {
        must(document == NULL);
    }
    json_object_put(document);
}

static void read_number(const char *text, size_t length)
{
    char out[DECIMAL_SIZE];
    int64_t millionths = 0, again = 0;
    enum status s = decimal_parse(text, length, EVENT_VALUE_MAX, &millionths);
    must(s == STATUS_OK || s == STATUS_INVALID || s == STATUS_LIMIT);
    if (s == STATUS_OK) {
        const char *end = number(text);
        must(end == text + length && millionths <= EVENT_VALUE_MAX && millionths >= -EVENT_VALUE_MAX);
        decimal_text(millionths, out);
        must(decimal_parse(out, strlen(out), EVENT_VALUE_MAX, &again) == STATUS_OK && again == millionths);
        struct json_object *o = json_from_millionths(millionths);
        must(json_millionths(o, &again) == STATUS_OK && again == millionths);
        json_object_put(o);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char *text = input_copy(data, size);
    read_document(text, size);
    if (size < 2000 && strlen(text) == size)
        read_number(text, size);
    free(text);
    return 0;
}
