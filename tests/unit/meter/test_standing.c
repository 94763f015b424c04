/* test_standing.c: every state of a limit beside what the decision does, and its words */
#include <string.h>

#include <CUnit/Basic.h>

#include "lib/meter/standing.h"

#define NOW INT64_C(1800000000000000)
#define HOUR INT64_C(3600000000)

struct place {
    struct standing_of of;
    struct limit limit;
    struct limit_count count;
};

static struct place at(int64_t used, int64_t max, enum limit_mode mode)
{
    return (struct place){.of = {.tenant = LIMIT_TENANT_ACTIVE},
                          .limit = {.max = max < 0 ? LIMIT_UNLIMITED : max * EVENT_MILLION,
                                    .until_us = LIMIT_NEVER,
                                    .max_after = LIMIT_UNLIMITED,
                                    .mode = (uint8_t)mode,
                                    .window = LIMIT_WINDOW_DAY},
                          .count = {.used = used * EVENT_MILLION, .start_us = NOW - HOUR, .end_us = NOW + HOUR}};
}

static void check(const struct place *p, enum standing_kind kind, int status, const char *word, const char *words)
{
    struct standing s;
    char text[STANDING_WORDS_SIZE];
    standing_of(&p->of, &p->limit, &p->count, NOW, &s);
    CU_ASSERT_EQUAL(s.kind, kind);
    CU_ASSERT_EQUAL(s.status, status);
    CU_ASSERT_STRING_EQUAL(standing_word(&s), word);
    CU_ASSERT_STRING_EQUAL(standing_words(&s, text), words);
}

static void each_mode_has_its_state_and_its_sentence(void)
{
    static const struct {
        int64_t used, max;
        enum limit_mode mode;
        int32_t percent;
        int64_t until_us;
        enum standing_kind kind;
        int status;
        const char *word, *words;
    } cases[] = {
        {0, 10, LIMIT_HARD, 0, 0, STANDING_WITHIN, 200, "Within the limit", ""},
        {8, 10, LIMIT_HARD, 0, 0, STANDING_WITHIN, 200, "Within the limit", ""},
        {9, 10, LIMIT_HARD, 0, 0, STANDING_NEAR, 200, "Approaching", ""},
        {10, 10, LIMIT_HARD, 0, 0, STANDING_REFUSED, 429, "Reached", "Calls are refused until the limit resets"},
        {12, 10, LIMIT_HARD, 0, 0, STANDING_REFUSED, 429, "Exceeded", "Calls are refused until the limit resets"},
        {0, 0, LIMIT_HARD, 0, 0, STANDING_REFUSED, 429, "Not included", "Refused: the plan has none of it"},
        {500, -1, LIMIT_HARD, 0, 0, STANDING_WITHIN, 200, "Unlimited", ""},
        {9, 10, LIMIT_SOFT, 0, 0, STANDING_NEAR, 200, "Approaching", ""},
        {10, 10, LIMIT_SOFT, 0, 0, STANDING_NEAR, 200, "Reached", "Not refused: the limit is soft"},
        {138, 100, LIMIT_SOFT, 0, 0, STANDING_SOFT_OVER, 200, "Above, not refused", "Not refused: the limit is soft"},
        {10, 10, LIMIT_GRACE, 20, 0, STANDING_NEAR, 200, "Reached", "Not refused up to 12"},
        {11, 10, LIMIT_GRACE, 20, 0, STANDING_GRACE, 200, "In its grace", "Not refused up to 12"},
        {12, 10, LIMIT_GRACE, 20, 0, STANDING_REFUSED, 429, "Exceeded", "Calls are refused until the limit resets"},
        {12, 10, LIMIT_GRACE, 0, NOW + HOUR, STANDING_GRACE, 200, "In its grace",
         "Not refused until 2027-01-15 09:00 UTC"},
        {12, 10, LIMIT_GRACE, 0, NOW - HOUR, STANDING_REFUSED, 429, "Exceeded",
         "Calls are refused until the limit resets"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct place p = at(cases[i].used, cases[i].max, cases[i].mode);
        p.limit.grace_percent = cases[i].percent;
        p.limit.grace_until_us = cases[i].until_us;
        check(&p, cases[i].kind, cases[i].status, cases[i].word, cases[i].words);
    }
}

static void without_a_plan_or_suspended_every_call_is_refused(void)
{
    struct place p = at(1, 10, LIMIT_SOFT);
    p.of.tenant = LIMIT_TENANT_NO_SUBSCRIPTION;
    check(&p, STANDING_REFUSED, 402, "Refused", "Every call is refused until a plan is set");
    p.of.tenant = LIMIT_TENANT_SUSPENDED;
    check(&p, STANDING_REFUSED, 403, "Refused", "Every call is refused until the tenant is resumed");
    CU_ASSERT_PTR_NULL(standing_of_tenant(LIMIT_TENANT_ACTIVE));
}

static void a_gauge_says_what_holds_it(void)
{
    struct place p = at(10, 10, LIMIT_HARD);
    p.of.gauge = true;
    p.limit.window = LIMIT_WINDOW_NONE;
    p.count.start_us = p.count.end_us = 0;
    check(&p, STANDING_REFUSED, 429, "Reached", "More is refused until there is room");
    p.of.unenforced = true;
    check(&p, STANDING_REFUSED, 429, "Reached",
          "Checks refuse more; new rows are not refused, because the limit is not enforced");
    p.count.used -= 1; /* a millionth is room */
    check(&p, STANDING_NEAR, 200, "Approaching", "");
}

/* The state is the decision's: whatever is used, the next call passes exactly where it says so. */
static void the_state_never_differs_from_the_decision(void)
{
    static const enum limit_mode modes[] = {LIMIT_HARD, LIMIT_SOFT, LIMIT_GRACE};
    for (size_t m = 0; m < 3; m++)
        for (int64_t max = -1; max <= 30; max++)
            for (int64_t used = 0; used <= 60; used++)
                for (int32_t percent = 0; percent <= 50; percent += 10) {
                    struct place p = at(used, max, modes[m]);
                    struct limit_verdict v;
                    struct standing s;
                    p.limit.grace_percent = percent;
                    limit_decide(&p.limit, &p.count, EVENT_MILLION, NOW, &v);
                    standing_of(&p.of, &p.limit, &p.count, NOW, &s);
                    if ((s.kind == STANDING_REFUSED) == v.allowed || (s.status == 200) != v.allowed)
                        CU_FAIL("a state differs from the decision");
                    if ((s.kind == STANDING_SOFT_OVER || s.kind == STANDING_GRACE) !=
                        (v.allowed && !v.unlimited && used > max))
                        CU_FAIL("above a limit that does not refuse has a state of its own");
                }
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("standing", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(each_mode_has_its_state_and_its_sentence);
    ADD(without_a_plan_or_suspended_every_call_is_refused);
    ADD(a_gauge_says_what_holds_it);
    ADD(the_state_never_differs_from_the_decision);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
