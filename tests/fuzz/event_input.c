/*
 * event_input.c: any body as events, in each form: what is taken is whole, allowed to whoever sent it and fits a record of the
 * spool; what is not taken is counted as a fault.
 *
 * The first byte is the form and the sender; then a line each, NAME=value, up to an empty one; the rest is the body.
 */
#include <stdio.h>
#include <talloc.h>

#include "lib/web/event_input.h"
#include "lib/web/json.h"
#include "tests/fuzz/environment.h"

#define NOW_US (INT64_C(1800000000) * 1000000)
#define MOST 3
#define SEED UINT64_C(0x746f6c6c67617465)

static const char *const types[] = {"application/json", "application/x-ndjson", "application/cloudevents+json",
                                    "application/cloudevents-batch+json", "text/plain"};
static const struct limit_catalogue catalogue = {
    .n_metrics = 2,
    .metrics = {{.name = "file_upload", .kind = LIMIT_KIND_COUNTER},
                {.name = "patients", .kind = LIMIT_KIND_GAUGE, .derived = 1}},
};

static enum status state_of(void *arg, const char *tenant, enum limit_state *out)
{
    (void)arg;
    *out = tenant[0] == 's' ? LIMIT_TENANT_SUSPENDED : LIMIT_TENANT_ACTIVE;
    return tenant[0] == 'a' ? STATUS_UNAVAILABLE : tenant[0] == 'x' ? STATUS_NOT_FOUND : STATUS_OK;
}

static void must_be_the_same(struct text a, struct text b)
{
    must(a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0));
}

static void must_fit_a_record(const struct event *e)
{
    size_t size = event_size(e), length = 0;
    struct event again;
    must(size > 0);
    unsigned char *record = malloc(size);
    must(record && event_encode(e, SEED, record, size, &length) == STATUS_OK && length == size);
    must(event_decode(record, size, SEED, &again, &length) == STATUS_OK && length == size);
    must_be_the_same(again.tenant, e->tenant);
    must_be_the_same(again.metric, e->metric);
    must_be_the_same(again.source, e->source);
    must_be_the_same(again.id, e->id);
    must_be_the_same(again.metadata, e->metadata);
    must(again.value == e->value && again.recorded_us == e->recorded_us);
    free(record);
}

static void must_be_allowed(const struct event *e, uint8_t metric, const struct event_rules *rules)
{
    struct json_object *metadata = NULL;
    struct json_problem problem;
    must(metric == 0 && e->metric.length == 11 && memcmp(e->metric.at, "file_upload", 11) == 0);
    must(e->tenant.length > 0 && !strchr("asx", e->tenant.at[0]));
    if (rules->tenant)
        must(e->tenant.length == strlen(rules->tenant) && memcmp(e->tenant.at, rules->tenant, e->tenant.length) == 0);
    must(e->value >= 0 && e->value <= EVENT_VALUE_MAX && e->flags == 0);
    must(e->recorded_us == 0 ||
         (e->recorded_us >= NOW_US - EVENT_INPUT_PAST_US && e->recorded_us <= NOW_US + EVENT_INPUT_AHEAD_US));
    must((e->id.length > 0) == (e->source.length > 0));
    if (e->metadata.length == 0)
        return;
    must(json_read(e->metadata.at, e->metadata.length, NULL, &metadata, &problem) == STATUS_OK);
    must(json_object_is_type(metadata, json_type_object) && !json_has_nul(metadata));
    json_object_put(metadata);
}

static void must_add_up(const struct event_input *in, const struct event_rules *rules)
{
    must(in->n <= in->total && in->total <= MOST && in->n_listed <= in->n_errors && in->n_listed <= EVENT_INPUT_ERRORS);
    must(in->n + in->n_errors >= in->total && (in->n_errors == 0 || in->n < in->total));
    for (size_t i = 0; i < in->n_listed; i++) {
        const struct event_error *e = &in->errors[i];
        must(e->index < in->total && e->field && e->code && e->message && strlen(e->message) > 0);
    }
    for (size_t i = 0; i < in->n; i++) {
        must_be_allowed(&in->events[i], in->metrics[i], rules);
        must_fit_a_record(&in->events[i]);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct input in = {data, size};
    unsigned char what = input_byte(&in);
    char *environment[ENVIRONMENT_LINES + 1];
    environment_read(&in, environment);
    size_t length;
    char *body = input_rest(&in, &length);
    const struct event_rules rules = {.catalogue = &catalogue,
                                      .tenant = what & 8 ? "t1" : NULL,
                                      .named = what & 16 ? "t2" : NULL,
                                      .max = MOST,
                                      .now_us = NOW_US,
                                      .state = state_of};
    const struct request r = {.media_type = types[(what & 7) % 5],
                              .body = body,
                              .body_length = length,
                              .environment = environment,
                              .pool = talloc_new(NULL)};
    struct event_input out;
    struct request_refusal why = {0};
    enum status s = event_input_read(&r, &rules, &out, &why);
    must(s == STATUS_OK || s == STATUS_INVALID || s == STATUS_UNAVAILABLE);
    if (s == STATUS_OK)
        must_add_up(&out, &rules);
    if (s == STATUS_INVALID)
        must((why.status == 400 || why.status == 413 || why.status == 415) && why.code && why.message);
    talloc_free(r.pool);
    free(body);
    environment_free(environment);
    return 0;
}
