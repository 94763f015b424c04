/* test_event_input.c: bodies of every form become events, and each fault has its place */
#include <CUnit/Basic.h>
#include <string.h>
#include <talloc.h>

#include "lib/web/event_input.h"

static const int64_t now_us = INT64_C(1800000000) * 1000000;

static enum status state_of(void *arg, const char *tenant, enum limit_state *out)
{
    (void)arg;
    if (strcmp(tenant, "away") == 0)
        return STATUS_UNAVAILABLE;
    if (strncmp(tenant, "t", 1) != 0)
        return STATUS_NOT_FOUND;
    *out = strcmp(tenant, "t-suspended") == 0 ? LIMIT_TENANT_SUSPENDED : LIMIT_TENANT_ACTIVE;
    return STATUS_OK;
}

static struct limit_catalogue catalogue = {
    .n_metrics = 3,
    .metrics = {{.name = "file_upload", .kind = LIMIT_KIND_COUNTER},
                {.name = "patients_count", .kind = LIMIT_KIND_GAUGE, .derived = 1},
                {.name = "login", .kind = LIMIT_KIND_COUNTER, .aggregation = LIMIT_COUNT}},
};
static struct request_refusal why;
static struct event_input in;
static void *pool;

/* Reads `body` of an operator (`tenant` NULL) or of a tenant's key. */
static enum status take(const char *tenant, const char *type, const char *body)
{
    static char *environment[] = {NULL};
    const struct event_rules rules = {
        .catalogue = &catalogue, .tenant = tenant, .max = 3, .now_us = now_us, .state = state_of};
    const struct request r = {
        .media_type = type, .body = body, .body_length = strlen(body), .environment = environment, .pool = pool};

    return event_input_read(&r, &rules, &in, &why);
}

static int start(void)
{
    pool = talloc_new(NULL);
    return pool == NULL;
}

static int end(void)
{
    talloc_free(pool);
    return 0;
}

static void a_plain_event_has_defaults(void)
{
    CU_ASSERT_EQUAL_FATAL(take("t1", "application/json", "{\"metric_type\":\"file_upload\"}"), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(in.n, 1);
    CU_ASSERT_EQUAL(in.n_errors, 0);
    CU_ASSERT_EQUAL(in.events[0].value, EVENT_MILLION);
    CU_ASSERT_EQUAL(in.events[0].recorded_us, 0);
    CU_ASSERT_EQUAL(in.events[0].id.length, 0);
    CU_ASSERT_EQUAL(in.events[0].flags, 0);
    CU_ASSERT_NSTRING_EQUAL(in.events[0].tenant.at, "t1", 2);
    CU_ASSERT_NOT_EQUAL(event_size(&in.events[0]), 0);
}

static void an_event_with_an_id_has_a_source(void)
{
    CU_ASSERT_EQUAL_FATAL(
        take(NULL, "application/json",
             "{\"tenant_id\":\"t2\",\"metric_type\":\"file_upload\",\"id\":\"7\",\"metric_value\":0.1}"),
        STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(in.n, 1);
    CU_ASSERT_NSTRING_EQUAL(in.events[0].source.at, EVENT_INPUT_SOURCE, in.events[0].source.length);
    CU_ASSERT_EQUAL(in.events[0].value, 100000);
}

static void each_fault_is_named_with_its_index(void)
{
    static const struct {
        const char *event, *field, *code;
    } cases[] = {
        {"{}", "metric_type", "field_missing"},
        {"{\"metric_type\":\"x\"}", "metric_type", "metric_unknown"},
        {"{\"metric_type\":\"patients_count\"}", "metric_type", "metric_derived"},
        {"{\"metric_type\":\"file_upload\",\"tenant_id\":\"t2\"}", "tenant_id", "tenant_forbidden"},
        {"{\"metric_type\":\"file_upload\",\"metric_value\":-0.1}", "metric_value", "value_range"},
        {"{\"metric_type\":\"login\",\"metric_value\":2}", "metric_value", "value_range"},
        {"{\"metric_type\":\"file_upload\",\"metric_value\":true}", "metric_value", "value_invalid"},
        {"{\"metric_type\":\"file_upload\",\"recorded_at\":\"2020-01-01T00:00:00Z\"}", "recorded_at", "time_window"},
        {"{\"metric_type\":\"file_upload\",\"other\":1}", "other", "field_unknown"},
        {"7", "", "type"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *body = talloc_asprintf(pool, "[{\"metric_type\":\"file_upload\"},%s]", cases[i].event);

        CU_ASSERT_EQUAL_FATAL(take("t1", "application/json", body), STATUS_OK);
        CU_ASSERT_EQUAL(in.n, 1);
        CU_ASSERT_EQUAL_FATAL(in.n_errors, 1);
        CU_ASSERT_EQUAL(in.errors[0].index, 1);
        CU_ASSERT_STRING_EQUAL(in.errors[0].field, cases[i].field);
        CU_ASSERT_STRING_EQUAL(in.errors[0].code, cases[i].code);
    }
}

static void an_operator_names_a_tenant_that_is_there_and_active(void)
{
    CU_ASSERT_EQUAL(take(NULL, "application/json", "{\"metric_type\":\"file_upload\"}"), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(in.errors[0].code, "tenant_missing");
    CU_ASSERT_EQUAL(take(NULL, "application/json", "{\"metric_type\":\"file_upload\",\"tenant_id\":\"x\"}"), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(in.errors[0].code, "tenant_unknown");
    CU_ASSERT_EQUAL(take(NULL, "application/json", "{\"metric_type\":\"file_upload\",\"tenant_id\":\"t-suspended\"}"),
                    STATUS_OK);
    CU_ASSERT_STRING_EQUAL(in.errors[0].code, "suspended");
    CU_ASSERT_EQUAL(take(NULL, "application/json", "{\"metric_type\":\"file_upload\",\"tenant_id\":\"away\"}"),
                    STATUS_UNAVAILABLE);
}

static void lines_and_cloud_events_are_read(void)
{
    CU_ASSERT_EQUAL(take("t1", "application/x-ndjson", "{\"metric_type\":\"file_upload\"}\n\n{\n"), STATUS_OK);
    CU_ASSERT_EQUAL(in.n, 1);
    CU_ASSERT_EQUAL(in.n_errors, 1);
    CU_ASSERT_EQUAL(in.errors[0].index, 1);
    CU_ASSERT_EQUAL_FATAL(take("t1", "application/cloudevents+json",
                               "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"file_upload\","
                               "\"data\":{\"value\":2.5,\"note\":\"x\"}}"),
                          STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(in.n, 1);
    CU_ASSERT_EQUAL(in.events[0].value, 2500000);
    CU_ASSERT_NSTRING_EQUAL(in.events[0].metadata.at, "{\"note\":\"x\"}", in.events[0].metadata.length);
    CU_ASSERT_EQUAL(take("t1", "application/cloudevents-batch+json", "[{\"specversion\":\"1.0\",\"id\":\"1\"}]"),
                    STATUS_OK);
    CU_ASSERT_STRING_EQUAL(in.errors[0].field, "source");
}

static void a_body_that_is_wrong_as_a_whole_is_refused(void)
{
    CU_ASSERT_EQUAL(take("t1", "application/json", "[{},{},{},{}]"), STATUS_INVALID);
    CU_ASSERT_EQUAL(why.status, 413);
    CU_ASSERT_EQUAL(take("t1", "application/x-ndjson", "{}\n{}\n{}\n{}\n"), STATUS_INVALID);
    CU_ASSERT_EQUAL(why.status, 413);
    CU_ASSERT_EQUAL(take("t1", "application/json", "{"), STATUS_INVALID);
    CU_ASSERT_EQUAL(why.status, 400);
    CU_ASSERT_EQUAL(take("t1", "text/xml", "<a/>"), STATUS_INVALID);
    CU_ASSERT_EQUAL(why.status, 415);
    CU_ASSERT_EQUAL(take("t1", "application/json", "[]"), STATUS_OK);
    CU_ASSERT_EQUAL(in.n + in.n_errors, 0);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("event_input", start, end);
    CU_ADD_TEST(suite, a_plain_event_has_defaults);
    CU_ADD_TEST(suite, an_event_with_an_id_has_a_source);
    CU_ADD_TEST(suite, each_fault_is_named_with_its_index);
    CU_ADD_TEST(suite, an_operator_names_a_tenant_that_is_there_and_active);
    CU_ADD_TEST(suite, lines_and_cloud_events_are_read);
    CU_ADD_TEST(suite, a_body_that_is_wrong_as_a_whole_is_refused);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
