/* test_event.c: a record's bytes are those that event.h tells, and nothing else is one */
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

#include "lib/meter/event.h"

#define SEED UINT64_C(0x1234567890abcdef)

static unsigned char bytes[EVENT_MAX_BYTES];

static struct text text(const char *s)
{
    return (struct text){s, strlen(s)};
}

static struct event some_event(void)
{
    return (struct event){.tenant = text("acme"),
                          .metric = text("api_call"),
                          .source = text("s"),
                          .id = text("42"),
                          .metadata = text("{\"a\":1}"),
                          .recorded_us = -1,
                          .appended_us = 2,
                          .value = -3,
                          .sequence = 4,
                          .flags = EVENT_COUNTED | EVENT_DEGRADED | EVENT_DELTA};
}

static size_t encode(const struct event *e)
{
    size_t length = 0;
    CU_ASSERT_EQUAL_FATAL(event_encode(e, SEED, bytes, sizeof bytes, &length), STATUS_OK);
    return length;
}

static void every_field_stands_at_its_documented_offset(void)
{
    static const unsigned char fixed[] = {4,    0,    0,    0,    0,    0,    0,    0,    2,    0,    0,    0,
                                          0,    0,    0,    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 4,    0,    8,    0,
                                          1,    0,    2,    0,    7,    0,    0,    0,    0x83, 0,    0,    0};
    struct event e = some_event();
    CU_ASSERT_EQUAL(encode(&e), 88);
    CU_ASSERT_EQUAL(memcmp(bytes, "TGR1\x58\0\0\0", 8), 0);
    CU_ASSERT_EQUAL(memcmp(bytes + 16, fixed, sizeof fixed), 0);
    CU_ASSERT_EQUAL(memcmp(bytes + 64, "acmeapi_calls42{\"a\":1}\0\0", 24), 0);
}

static void what_is_encoded_is_decoded_the_same(void)
{
    struct event e = some_event(), got;
    size_t length, n = encode(&e);
    CU_ASSERT_EQUAL_FATAL(event_decode(bytes, n, SEED, &got, &length), STATUS_OK);
    CU_ASSERT_EQUAL(length, n);
    CU_ASSERT(got.recorded_us == -1 && got.appended_us == 2 && got.value == -3 && got.sequence == 4 &&
              got.flags == e.flags);
    CU_ASSERT(got.tenant.length == 4 && memcmp(got.tenant.at, "acme", 4) == 0);
    CU_ASSERT(got.metadata.length == 7 && memcmp(got.metadata.at, "{\"a\":1}", 7) == 0);
}

static void any_flipped_bit_is_noticed(void)
{
    struct event e = some_event(), got;
    size_t length, n = encode(&e);
    int missed = 0;
    for (size_t bit = 0; bit < n * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        missed += event_decode(bytes, n, SEED, &got, &length) == STATUS_OK;
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(missed, 0);
}

static void a_record_of_another_segment_is_none(void)
{
    struct event e = some_event(), got;
    size_t length, n = encode(&e);
    CU_ASSERT_EQUAL(event_decode(bytes, n, SEED + 1, &got, &length), STATUS_DAMAGED);
}

static void a_record_that_is_not_all_there_yet_may_still_come(void)
{
    struct event e = some_event(), got;
    size_t length, n = encode(&e);
    for (size_t there = 0; there < n; there++) {
        unsigned char *part = malloc(there ? there : 1); /* of this very size: a byte too far is seen */
        CU_ASSERT_FATAL(part != NULL);
        memcpy(part, bytes, there);
        CU_ASSERT_EQUAL(event_decode(part, there, SEED, &got, &length), STATUS_END);
        free(part);
    }
}

static void parts_out_of_their_bounds_are_refused(void)
{
    static char longest[EVENT_METADATA_MAX + 1];
    struct event e = some_event();
    size_t length;
    memset(longest, 'x', sizeof longest);
    e.metadata = (struct text){longest, EVENT_METADATA_MAX};
    e.tenant = e.source = e.id = (struct text){longest, EVENT_TENANT_MAX};
    e.metric = (struct text){longest, EVENT_METRIC_MAX};
    CU_ASSERT(encode(&e) <= EVENT_MAX_BYTES);
    CU_ASSERT_EQUAL(event_encode(&e, SEED, bytes, event_size(&e) - 1, &length), STATUS_LIMIT);
    e.metadata.length++;
    CU_ASSERT_EQUAL(event_size(&e), 0);
    e = some_event();
    e.tenant.length = 0;
    CU_ASSERT_EQUAL(event_encode(&e, SEED, bytes, sizeof bytes, &length), STATUS_INVALID);
    e = some_event();
    e.value = INT64_MIN;
    CU_ASSERT_EQUAL(event_encode(&e, SEED, bytes, sizeof bytes, &length), STATUS_INVALID);
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("event", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(every_field_stands_at_its_documented_offset);
    ADD(what_is_encoded_is_decoded_the_same);
    ADD(any_flipped_bit_is_noticed);
    ADD(a_record_of_another_segment_is_none);
    ADD(a_record_that_is_not_all_there_yet_may_still_come);
    ADD(parts_out_of_their_bounds_are_refused);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
