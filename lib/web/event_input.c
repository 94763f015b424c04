/* event_input.c: bodies of many forms become checked events */
#include "lib/web/event_input.h"

#include <json-c/json.h>
#include <string.h>
#include <talloc.h>

#include "lib/base/clock.h"
#include "lib/web/json.h"

struct reading {
    const struct request *r;
    const struct event_rules *rules;
    struct event_input *in;
    size_t budget;           /* of json_read, for the whole body */
    enum status broken;      /* what ends the reading: STATUS_UNAVAILABLE, STATUS_NO_MEMORY */
    const char *last_tenant; /* looked up already, active */
};

/* ---- faults ---- */

static bool fault(struct reading *rd, const char *field, const char *code, const char *message)
{
    struct event_input *in = rd->in;

    if (in->n_listed < EVENT_INPUT_ERRORS)
        in->errors[in->n_listed++] = (struct event_error){in->total, field, code, message};
    in->n_errors++;
    return false;
}

static const char *known_metrics(struct reading *rd, const char *name)
{
    const struct limit_catalogue *c = rd->rules->catalogue;
    char *text = talloc_asprintf(rd->r->pool, "there is no metric %.100s; known are", name);

    for (uint32_t i = 0; i < c->n_metrics && text; i++)
        if (!c->metrics[i].derived)
            text = talloc_asprintf_append(text, "%s %s", i == 0 ? "" : ",", c->metrics[i].name);
    return !text ? "there is no such metric" : text;
}

/* ---- parts of an event ---- */

/* A string member's text, bounded; absent: *out stays. False after naming the fault. */
static bool take_string(struct reading *rd, struct json_object *value, const char *field, size_t max, const char **out)
{
    const char *text;
    size_t length;

    if (!json_object_is_type(value, json_type_string))
        return fault(rd, field, "type", "it has to be a string");
    text = json_object_get_string(value);
    length = (size_t)json_object_get_string_len(value);
    if (length == 0)
        return fault(rd, field, "empty", "it may not be empty");
    if (length > max)
        return fault(rd, field, "too_long", talloc_asprintf(rd->r->pool, "at most %zu bytes", max));
    if (strlen(text) != length)
        return fault(rd, field, "nul", "it may not hold a NUL");
    *out = text;
    return true;
}

static bool take_metric(struct reading *rd, const char *name, const char *field, uint8_t *metric, struct event *e)
{
    const struct limit_catalogue *c = rd->rules->catalogue;
    int index = !name ? -1 : limit_table_metric(c, name, strlen(name));

    if (!name)
        return fault(rd, field, "field_missing", "it is needed");
    if (index < 0)
        return fault(rd, field, "metric_unknown", known_metrics(rd, name));
    if (c->metrics[index].derived)
        return fault(rd, field, "metric_derived", "this metric is counted by Tollgate itself and takes no values");
    *metric = (uint8_t)index;
    e->metric = (struct text){name, strlen(name)};
    return true;
}

/* Once the value is known. */
static bool fits_metric(struct reading *rd, uint8_t metric, const char *field, const struct event *e)
{
    if (rd->rules->catalogue->metrics[metric].aggregation == LIMIT_COUNT && e->value != EVENT_MILLION)
        return fault(rd, field, "value_range", "this metric counts events: it has to be 1");
    return true;
}

static bool take_tenant(struct reading *rd, const char *name, const char *field, struct event *e)
{
    const struct event_rules *rules = rd->rules;
    const char *tenant = name ? name : rules->tenant ? rules->tenant : rules->named;
    enum limit_state state = LIMIT_TENANT_FREE;
    enum status s;

    if (!tenant)
        return fault(rd, field, "tenant_missing", "an operator's key has to name the tenant");
    if (rules->tenant && strcmp(tenant, rules->tenant) != 0)
        return fault(rd, field, "tenant_forbidden", "this is not your key's tenant");
    e->tenant = (struct text){tenant, strlen(tenant)};
    if (rd->last_tenant && strcmp(rd->last_tenant, tenant) == 0)
        return true;
    s = rules->state(rules->arg, tenant, &state);
    if (s == STATUS_NOT_FOUND)
        return fault(rd, field, "tenant_unknown", "there is no such tenant");
    if (s != STATUS_OK) {
        rd->broken = s;
        return false;
    }
    if (state == LIMIT_TENANT_SUSPENDED)
        return fault(rd, field, "suspended", "this tenant is suspended");
    rd->last_tenant = tenant;
    return true;
}

static bool take_value(struct reading *rd, struct json_object *number, const char *field, struct event *e)
{
    enum status s = json_millionths(number, &e->value);

    if (s == STATUS_LIMIT || (s == STATUS_OK && e->value < 0))
        return fault(rd, field, "value_range", "it has to be from 0 to 1000000000000");
    if (s != STATUS_OK)
        return fault(rd, field, "value_invalid", "it has to be a number with at most six decimal places");
    return true;
}

/* A change of a level: from -10^12 to 10^12. */
static bool take_delta(struct reading *rd, struct json_object *number, const char *field, struct event *e)
{
    enum status s = json_millionths(number, &e->value);

    if (s == STATUS_LIMIT)
        return fault(rd, field, "value_range", "it has to be from -1000000000000 to 1000000000000");
    if (s != STATUS_OK)
        return fault(rd, field, "value_invalid", "it has to be a number with at most six decimal places");
    e->flags |= EVENT_DELTA;
    return true;
}

/* A level and a change of it exclude each other, and a counter has no level. */
static bool may_be_delta(struct reading *rd, const struct event *e, uint8_t metric, bool has_value, const char *field)
{
    if (!(e->flags & EVENT_DELTA))
        return true;
    if (has_value)
        return fault(rd, field, "delta_and_value", "send a value or a delta, not both");
    if (rd->rules->catalogue->metrics[metric].kind != LIMIT_KIND_GAUGE)
        return fault(rd, field, "delta_counter", "only a gauge takes a delta; send a counter's value");
    return true;
}

static bool take_time(struct reading *rd, const char *text, const char *field, struct event *e)
{
    if (clock_parse_rfc3339(text, strlen(text), &e->recorded_us) != STATUS_OK)
        return fault(rd, field, "time_invalid", "it has to be RFC 3339, like 2026-11-24T09:00:00Z");
    if (e->recorded_us < rd->rules->now_us - EVENT_INPUT_PAST_US ||
        e->recorded_us > rd->rules->now_us + EVENT_INPUT_AHEAD_US)
        return fault(rd, field, "time_window", "it has to be from 35 days ago to 5 minutes ahead");
    return true;
}

static bool take_metadata(struct reading *rd, struct json_object *object, const char *field, struct event *e)
{
    size_t length;
    const char *text;

    if (!json_object_is_type(object, json_type_object))
        return fault(rd, field, "type", "it has to be an object");
    if (json_has_nul(object))
        return fault(rd, field, "nul", "no text in it may hold a NUL");
    if (!json_fits_database(object))
        return fault(rd, field, "number_range",
                     "a number in it is too large or too exact to be kept; send it as a string");
    text = json_object_to_json_string_length(object, JSON_WRITE_FLAGS, &length);
    if (length > EVENT_METADATA_MAX)
        return fault(rd, field, "too_long", "at most 65536 bytes");
    text = talloc_strndup(rd->r->pool, text, length);
    if (!text) {
        rd->broken = STATUS_NO_MEMORY;
        return false;
    }
    e->metadata = (struct text){text, length};
    return true;
}

/* Levels that tell no time count in their order in the body. */
static void keep(struct reading *rd, const struct event *e, uint8_t metric)
{
    struct event *kept = &rd->in->events[rd->in->n];

    rd->in->metrics[rd->in->n] = metric;
    *kept = *e;
    if (rd->rules->catalogue->metrics[metric].kind == LIMIT_KIND_GAUGE && kept->recorded_us == 0)
        kept->recorded_us = rd->rules->now_us + (int64_t)rd->in->n;
    rd->in->n++;
}

/* ---- one event of each form ---- */

/* Members of a plain event, in the order of `plain`. */
static bool read_plain(struct reading *rd, struct json_object *o)
{
    const char *tenant = NULL, *metric = NULL, *time = NULL, *id = NULL;
    struct event e = {.value = EVENT_MILLION};
    bool good = true, has_value = json_object_object_get_ex(o, "metric_value", NULL);
    uint8_t index = 0;

    if (!json_object_is_type(o, json_type_object))
        return fault(rd, "", "type", "an event has to be an object");
    json_object_object_foreach(o, name, value)
    {
        if (strcmp(name, "tenant_id") == 0)
            good = good && take_string(rd, value, "tenant_id", EVENT_TENANT_MAX, &tenant);
        else if (strcmp(name, "metric_type") == 0)
            good = good && take_string(rd, value, "metric_type", EVENT_METRIC_MAX, &metric);
        else if (strcmp(name, "metric_value") == 0)
            good = good && take_value(rd, value, "metric_value", &e);
        else if (strcmp(name, "delta") == 0)
            good = good && take_delta(rd, value, "delta", &e);
        else if (strcmp(name, "recorded_at") == 0)
            good = good && take_string(rd, value, "recorded_at", CLOCK_RFC3339_SIZE, &time);
        else if (strcmp(name, "metadata") == 0)
            good = good && take_metadata(rd, value, "metadata", &e);
        else if (strcmp(name, "id") == 0)
            good = good && take_string(rd, value, "id", EVENT_ID_MAX, &id);
        else
            good = good && fault(rd, talloc_strndup(rd->r->pool, name, 100), "field_unknown",
                                 "known are tenant_id, metric_type, metric_value, delta, recorded_at, metadata, id");
    }
    good = good && take_tenant(rd, tenant, "tenant_id", &e) && take_metric(rd, metric, "metric_type", &index, &e) &&
           may_be_delta(rd, &e, index, has_value, "delta") && fits_metric(rd, index, "metric_value", &e) &&
           (!time || take_time(rd, time, "recorded_at", &e));
    if (!good)
        return false;
    if (id) {
        e.id = (struct text){id, strlen(id)};
        e.source = (struct text){EVENT_INPUT_SOURCE, strlen(EVENT_INPUT_SOURCE)};
    }
    keep(rd, &e, index);
    return true;
}

/* What a CloudEvent says, from either mode; NULL: absent. */
struct cloud {
    const char *specversion, *id, *source, *type, *subject, *time;
    struct json_object *data; /* owned elsewhere */
};

/* data: an object whose "value" (or a gauge's "delta") is the value and whose other members are kept as metadata. */
static bool take_data(struct reading *rd, struct json_object *data, bool is_gauge, struct event *e)
{
    struct json_object *rest;
    bool good = true;

    if (!json_object_is_type(data, json_type_object))
        return fault(rd, "data", "type", "it has to be an object, its value in \"value\"");
    rest = json_pool(rd->r->pool, json_object_new_object());
    json_object_object_foreach(data, name, value)
    {
        if (strcmp(name, "value") == 0)
            good = good && take_value(rd, value, "data.value", e);
        else if (strcmp(name, "delta") == 0 && is_gauge)
            good = good && take_delta(rd, value, "data.delta", e);
        else
            json_object_object_add(rest, name, json_object_get(value));
    }
    return good && (json_object_object_length(rest) == 0 || take_metadata(rd, rest, "data", e));
}

static bool read_cloud(struct reading *rd, const struct cloud *c)
{
    struct event e = {.value = EVENT_MILLION};
    bool has_value = json_object_object_get_ex(c->data, "value", NULL);
    uint8_t index = 0;

    if (!c->specversion || strcmp(c->specversion, "1.0") != 0)
        return fault(rd, "specversion", "specversion", "it has to be \"1.0\"");
    if (!c->id)
        return fault(rd, "id", "field_missing", "it is needed");
    if (!c->source)
        return fault(rd, "source", "field_missing", "it is needed");
    if (!take_tenant(rd, c->subject, "subject", &e) || !take_metric(rd, c->type, "type", &index, &e) ||
        (c->time && !take_time(rd, c->time, "time", &e)) ||
        (c->data && !take_data(rd, c->data, rd->rules->catalogue->metrics[index].kind == LIMIT_KIND_GAUGE, &e)) ||
        !may_be_delta(rd, &e, index, has_value, "data.delta") || !fits_metric(rd, index, "data.value", &e))
        return false;
    e.id = (struct text){c->id, strlen(c->id)};
    e.source = (struct text){c->source, strlen(c->source)};
    keep(rd, &e, index);
    return true;
}

static bool read_structured(struct reading *rd, struct json_object *o)
{
    struct cloud c = {0};
    const struct {
        const char *name;
        size_t max;
        const char **to;
    } attributes[] = {
        {"specversion", 16, &c.specversion},       {"id", EVENT_ID_MAX, &c.id},
        {"source", EVENT_SOURCE_MAX, &c.source},   {"type", EVENT_METRIC_MAX, &c.type},
        {"subject", EVENT_TENANT_MAX, &c.subject}, {"time", CLOCK_RFC3339_SIZE, &c.time},
    };
    struct json_object *value;

    if (!json_object_is_type(o, json_type_object))
        return fault(rd, "", "type", "an event has to be an object");
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        if (json_object_object_get_ex(o, attributes[i].name, &value) &&
            !take_string(rd, value, attributes[i].name, attributes[i].max, attributes[i].to))
            return false;
    if (json_object_object_get_ex(o, "data_base64", &value))
        return fault(rd, "data_base64", "data_base64", "send data as JSON");
    json_object_object_get_ex(o, "data", &c.data);
    return read_cloud(rd, &c);
}

/* ---- bodies ---- */

static enum status too_many(struct reading *rd, struct request_refusal *why)
{
    return request_refuse(why, 413, "too_many_events", "There are too many events in one body",
                          talloc_asprintf(rd->r->pool, "Send at most %zu at once.", rd->rules->max));
}

static enum status too_costly(struct request_refusal *why)
{
    return request_refuse(why, 413, "too_many_values", "There are too many values in one body",
                          "Send fewer events at once, or less metadata with each.");
}

static enum status make_room(struct reading *rd, size_t n)
{
    struct event_input *in = rd->in;

    in->events = talloc_zero_array(rd->r->pool, struct event, n + 1);
    in->metrics = talloc_zero_array(rd->r->pool, uint8_t, n + 1);
    in->errors = talloc_zero_array(rd->r->pool, struct event_error, EVENT_INPUT_ERRORS);
    return !in->events || !in->metrics || !in->errors ? STATUS_NO_MEMORY : STATUS_OK;
}

/* The whole body as one document, which goes with the request. */
static enum status read_whole(struct reading *rd, struct json_object **out, struct request_refusal *why)
{
    struct json_problem problem;
    enum status s = json_read(rd->r->body, rd->r->body_length, &rd->budget, out, &problem);

    if (s == STATUS_INVALID)
        return request_refuse(why, 400, "json_invalid", "The body is not valid JSON",
                              talloc_asprintf(rd->r->pool, "At byte %zu: %s.", problem.offset, problem.message));
    if (s == STATUS_LIMIT)
        return too_costly(why);
    if (s == STATUS_OK)
        json_pool(rd->r->pool, *out);
    return s;
}

/* A whole document: an object is one event, an array many (`single`: refused). */
static enum status read_document(struct reading *rd, bool single, bool batch,
                                 bool (*one)(struct reading *rd, struct json_object *o), struct request_refusal *why)
{
    struct json_object *document = NULL;
    enum status s = read_whole(rd, &document, why);
    bool array = json_object_is_type(document, json_type_array);
    size_t n = array ? json_object_array_length(document) : 1;

    if (s != STATUS_OK)
        return s;
    if ((array && single) || (!array && batch))
        return request_refuse(
            why, 400, "body_invalid", single ? "The body has to be one event" : "The body has to be an array",
            "application/cloudevents+json is one event, application/cloudevents-batch+json an array.");
    if (n > rd->rules->max)
        return too_many(rd, why);
    s = make_room(rd, n);
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        one(rd, array ? json_object_array_get_idx(document, i) : document);
        rd->in->total++;
        s = rd->broken;
    }
    return s;
}

static enum status read_lines(struct reading *rd, struct request_refusal *why)
{
    const char *at = rd->r->body, *end = at + rd->r->body_length;
    size_t lines = 1;
    enum status s;

    for (const char *c = at; c < end; c++)
        lines += *c == '\n';
    s = make_room(rd, lines < rd->rules->max ? lines : rd->rules->max);
    while (s == STATUS_OK && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((!stop ? end : stop) - at);
        struct json_object *line = NULL;
        struct json_problem problem;

        if (strspn(at, " \t\r") < length) {
            if (rd->in->total == rd->rules->max)
                return too_many(rd, why);
            s = json_read(at, length, &rd->budget, &line, &problem);
            if (s == STATUS_LIMIT)
                return too_costly(why);
            if (s == STATUS_INVALID) {
                fault(rd, "", "json_invalid",
                      talloc_asprintf(rd->r->pool, "at byte %zu of the line: %s", problem.offset, problem.message));
                s = STATUS_OK;
            } else if (s == STATUS_OK) {
                read_plain(rd, json_pool(rd->r->pool, line));
                s = rd->broken;
            }
            rd->in->total++;
        }
        at += length + 1;
    }
    return s;
}

/* A ce-* header, percent-decoded once; *out stays when it is absent. */
static bool take_header(struct reading *rd, const char *header, const char *field, size_t max, const char **out)
{
    const char *raw = request_header(rd->r, header);
    char *text;
    long length;

    if (!raw)
        return true;
    text = talloc_array(rd->r->pool, char, strlen(raw) + 1);
    length = !text ? -1 : request_percent_decode(raw, strlen(raw), false, text);
    if (length <= 0 || (size_t)length > max)
        return fault(rd, field, "header_invalid", "the header is empty, too long or badly encoded");
    *out = text;
    return true;
}

static enum status read_binary(struct reading *rd, struct request_refusal *why)
{
    struct cloud c = {0};
    enum status s = make_room(rd, 1);

    if (s != STATUS_OK)
        return s;
    if (rd->r->body_length > 0) {
        if (strcmp(rd->r->media_type, "application/json") != 0)
            return request_refuse(why, 415, "media_type", "The data has to be JSON",
                                  "Send Content-Type: application/json.");
        if ((s = read_whole(rd, &c.data, why)) != STATUS_OK)
            return s;
    }
    if (take_header(rd, "ce-specversion", "specversion", 16, &c.specversion) &&
        take_header(rd, "ce-id", "id", EVENT_ID_MAX, &c.id) &&
        take_header(rd, "ce-source", "source", EVENT_SOURCE_MAX, &c.source) &&
        take_header(rd, "ce-type", "type", EVENT_METRIC_MAX, &c.type) &&
        take_header(rd, "ce-subject", "subject", EVENT_TENANT_MAX, &c.subject) &&
        take_header(rd, "ce-time", "time", CLOCK_RFC3339_SIZE, &c.time))
        read_cloud(rd, &c);
    rd->in->total = 1;
    return rd->broken;
}

enum status event_input_read(const struct request *r, const struct event_rules *rules, struct event_input *out,
                             struct request_refusal *why)
{
    struct reading rd = {
        .r = r, .rules = rules, .in = out, .budget = EVENT_INPUT_COST * (rules->max + 16), .broken = STATUS_OK};

    *out = (struct event_input){0};
    if (strcmp(r->media_type, "application/cloudevents+json") == 0)
        return read_document(&rd, true, false, read_structured, why);
    if (strcmp(r->media_type, "application/cloudevents-batch+json") == 0)
        return read_document(&rd, false, true, read_structured, why);
    if (request_header(r, "ce-specversion"))
        return read_binary(&rd, why);
    if (strcmp(r->media_type, "application/x-ndjson") == 0)
        return read_lines(&rd, why);
    if (strcmp(r->media_type, "application/json") == 0)
        return read_document(&rd, false, false, read_plain, why);
    return request_refuse(why, 415, "media_type", "This media type is not accepted",
                          "Send application/json, application/x-ndjson, application/cloudevents+json or "
                          "application/cloudevents-batch+json.");
}
