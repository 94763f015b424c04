/* metrics_json.c: every metric with its limits as JSON */
#include "lib/web/metrics_json.h"

#include "lib/base/clock.h"
#include "lib/web/json.h"

static struct json_object *one(const struct standing_limit *l)
{
    const struct limit_verdict *v = &l->at.verdict;
    char resets[CLOCK_RFC3339_SIZE] = "", words[STANDING_WORDS_SIZE];
    struct json_object *o = json_object_new_object();

    if (v->resets_us && l->known)
        clock_rfc3339(resets, v->resets_us, l->end_offset_s, 0);
    standing_words(&l->at, words);
    json_object_object_add(o, "type", json_object_new_string(l->metric));
    json_object_object_add(o, "label", json_object_new_string(l->label));
    json_object_object_add(o, "unit", json_object_new_string(l->unit));
    json_object_object_add(o, "limit_key", json_text(l->key[0] ? l->key : NULL));
    json_object_object_add(o, "used", l->known ? json_from_millionths(v->used) : NULL);
    json_object_object_add(o, "limit", v->unlimited ? NULL : json_from_millionths(v->limit));
    json_object_object_add(o, "percent", v->unlimited || !l->known ? NULL : json_from_percent(l->at.percent));
    json_object_object_add(o, "window", json_object_new_string(l->window));
    json_object_object_add(o, "resets_at", json_text(resets[0] ? resets : NULL));
    json_object_object_add(o, "mode", json_object_new_string(standing_mode((enum limit_mode)v->mode)));
    json_object_object_add(o, "state", json_object_new_string(standing_code(l->at.kind)));
    json_object_object_add(o, "message", json_text(words[0] ? words : NULL));
    return o;
}

struct json_object *metrics_json(const struct standing_limit limits[], size_t n)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < n; i++)
        json_object_array_add(list, one(&limits[i]));
    return list;
}
