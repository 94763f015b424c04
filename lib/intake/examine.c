/* examine.c: is an event fit for the database, and what the rollups need of its metadata */
#include "lib/intake/examine.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/utf8.h"

#define JSON_DEPTH 32
#define EARLIEST_US INT64_C(946684800000000) /* 2000-01-01 */
#define LATEST_US INT64_C(4102444800000000)  /* 2100-01-01 */

struct examiner {
    struct json_tokener *json;
};

enum status examiner_create(struct examiner **out)
{
    struct examiner *x = calloc(1, sizeof(*x));

    if (!x || !(x->json = json_tokener_new_ex(JSON_DEPTH))) {
        free(x);
        return STATUS_NO_MEMORY;
    }
    json_tokener_set_flags(x->json, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *out = x;
    return STATUS_OK;
}

void examiner_destroy(struct examiner *x)
{
    if (!x)
        return;
    json_tokener_free(x->json);
    free(x);
}

/* Can PostgreSQL hold it: UTF-8 without NUL? */
static bool plain(struct text t)
{
    return utf8_valid(t.at, t.length) && !memchr(t.at, '\0', t.length);
}

/* A member's text, copied behind the *kept bytes of `keep`; empty when it is no short string. */
static struct text member(struct json_object *o, const char *name, char *keep, size_t *kept)
{
    struct json_object *v;

    if (!json_object_object_get_ex(o, name, &v) || !json_object_is_type(v, json_type_string))
        return (struct text){"", 0};
    struct text t = {json_object_get_string(v), (size_t)json_object_get_string_len(v)};

    if (t.length > EVENT_SOURCE_MAX || !plain(t))
        return (struct text){"", 0};
    memcpy(keep + *kept, t.at, t.length);
    t.at = keep + *kept;
    *kept += t.length;
    return t;
}

/* jsonb takes no NUL: \u0000 behind an even number of backslashes. */
static bool has_escaped_nul(struct text t)
{
    for (size_t i = 0; i + 5 < t.length; i++)
        if (t.at[i] == '\\') {
            if (memcmp(t.at + i, "\\u0000", 6) == 0)
                return true;
            i++;
        }
    return false;
}

static const char *metadata(struct examiner *x, struct ingest_event *e, char *keep, size_t *kept)
{
    struct text t = e->event.metadata;
    struct json_object *o;
    const char *wrong = NULL;

    if (t.length == 0)
        return NULL;
    json_tokener_reset(x->json);
    o = json_tokener_parse_ex(x->json, t.at, (int)t.length);
    if (!o || json_tokener_get_parse_end(x->json) != t.length || !json_object_is_type(o, json_type_object) ||
        has_escaped_nul(t)) {
        wrong = "metadata";
    } else if (e->event.metric.length == 8 && memcmp(e->event.metric.at, "api_call", 8) == 0) {
        e->method = member(o, "method", keep, kept);
        e->endpoint = member(o, "normalized", keep, kept);
        e->key = member(o, "key", keep, kept);
    }
    json_object_put(o);
    return wrong;
}

const char *examine_event(struct examiner *x, struct ingest_event *e, char *keep, size_t *kept)
{
    const struct event *v = &e->event;
    struct text none = {"", 0};

    e->method = e->endpoint = e->key = none;
    *kept = 0;
    if (!plain(v->tenant) || !plain(v->metric) || !plain(v->source) || !plain(v->id))
        return "encoding";
    if (v->recorded_us < EARLIEST_US || v->recorded_us > LATEST_US || v->appended_us < EARLIEST_US ||
        v->appended_us > LATEST_US)
        return "time_range";
    if (v->value > EVENT_VALUE_MAX || v->value < -EVENT_VALUE_MAX)
        return "value_range";
    return metadata(x, e, keep, kept);
}
