/* test_credits.c: what may pass with credits, against a model that takes unit by unit */
/*
 * The model knows each day's use and plan, and gives each unit beyond a day's plan to the grant that ends first among those that take part
 * in the day. The table is told what was left when yesterday began, now and then, and has to say the same at each call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/Basic.h>
#include <sodium.h>

#include "lib/meter/limit_table/limit_table.h"

#define DAY INT64_C(86400000000)
#define HOUR INT64_C(3600000000)
#define FIRST (INT64_C(20000) * DAY)
#define DAYS 60
#define GRANTS 40
#define UNIT EVENT_MILLION

static char dir[] = "/tmp/test-credits-XXXXXX";
static const unsigned char node[16] = "0123456789abcdef";

struct model {
    int64_t used[DAYS], plan[DAYS]; /* units */
    struct {
        int64_t from_us, until_us, amount;
    } grants[GRANTS];
    int n;
};

static uint32_t seed = 1;
static int chance(int most) /* 0 to most - 1, the same in each run */
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)most);
}

/* What is left of each grant when `day` begins. */
static void left_at(const struct model *m, int day, int64_t left[GRANTS])
{
    for (int g = 0; g < m->n; g++)
        left[g] = m->grants[g].amount;
    for (int d = 0; d < day; d++)
        for (int64_t unit = m->plan[d]; unit < m->used[d]; unit++) {
            int first = -1;
            for (int g = 0; g < m->n; g++)
                if (left[g] > 0 && m->grants[g].from_us < FIRST + (d + 1) * DAY &&
                    m->grants[g].until_us > FIRST + d * DAY &&
                    (first < 0 || m->grants[g].until_us < m->grants[first].until_us))
                    first = g;
            if (first >= 0)
                left[first]--;
        }
}

static int64_t allowed(const struct model *m, int day, int64_t now_us)
{
    int64_t left[GRANTS], sum = m->plan[day];
    left_at(m, day, left);
    for (int g = 0; g < m->n; g++)
        if (m->grants[g].until_us > now_us)
            sum += left[g];
    return sum;
}

static struct limit_catalogue catalogue(void)
{
    struct limit_catalogue c = {.n_metrics = 2, .n_limits = 2};
    strcpy(c.metrics[0].name, "api_call");
    strcpy(c.limits[0].key, "api_calls_per_day");
    c.limits[0].window = LIMIT_WINDOW_DAY;
    strcpy(c.metrics[1].name, "seats");
    c.metrics[1].kind = LIMIT_KIND_GAUGE;
    strcpy(c.limits[1].key, "max_seats");
    c.limits[1].metric = 1;
    return c;
}

static struct limit_table *make(void)
{
    struct limit_table *t = NULL;
    struct limit_catalogue c = catalogue();
    CU_ASSERT_EQUAL_FATAL(limit_table_make(dir, node, &t), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &c), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(limit_table_ready(t), STATUS_OK);
    return t;
}

static struct limit_tenant tenant(int64_t plan, int day)
{
    struct limit_tenant t = {.id = "a", .tier = "pro", .state = LIMIT_TENANT_ACTIVE, .held = 3};
    for (int i = 0; i < LIMIT_TABLE_LIMITS; i++)
        t.limits[i] = (struct limit){.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
    t.limits[0].max = plan * UNIT;
    t.limits[0].window = LIMIT_WINDOW_DAY;
    for (int i = 0; i < LIMIT_DAYS; i++)
        t.days[i] = (struct limit_span){FIRST + (day - 1 + i) * DAY, FIRST + (day + i) * DAY, 0, 0};
    t.periods[0] = (struct limit_span){FIRST - 90 * DAY, FIRST + 900 * DAY, 0, 0};
    return t;
}

/* As the collector does: what was left when yesterday began, of grants that may still count. */
static uint32_t feed(struct limit_table *t, const struct model *m, int day)
{
    struct limit_tenant who = tenant(m->plan[day], day);
    struct limit_credit *c = &who.credits[0];
    int64_t left[GRANTS], since = FIRST + (day - 1) * DAY;
    uint32_t index = 0;
    left_at(m, day - 1, left);
    *c = (struct limit_credit){.slot = 0, .since_us = since, .plan = m->plan[day - 1] * UNIT};
    for (int64_t until = 0; c->n < LIMIT_GRANTS;) {
        int next = -1;
        for (int g = 0; g < m->n; g++)
            if (left[g] > 0 && m->grants[g].until_us > since && m->grants[g].until_us > until &&
                (next < 0 || m->grants[g].until_us < m->grants[next].until_us))
                next = g;
        if (next < 0)
            break;
        until = m->grants[next].until_us;
        c->grants[c->n].from_us = m->grants[next].from_us;
        c->grants[c->n].until_us = until;
        c->grants[c->n++].left = left[next] * UNIT;
    }
    who.n_credits = c->n > 0;
    CU_ASSERT_EQUAL_FATAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    return index;
}

static int open_grants(const struct model *m, int day)
{
    int64_t left[GRANTS];
    int n = 0;
    left_at(m, day - 1, left);
    for (int g = 0; g < m->n; g++)
        n += left[g] > 0 && m->grants[g].until_us > FIRST + (day - 1) * DAY;
    return n;
}

/* No two end together, as two that do are one to the table. */
static void grant(struct model *m, int day, int64_t now_us)
{
    if (m->n == GRANTS || open_grants(m, day) == LIMIT_GRANTS)
        return;
    int64_t until = FIRST + (day + 1 + chance(6)) * DAY;
    for (int g = 0; g < m->n; g++)
        if (m->grants[g].until_us == until)
            return;
    m->grants[m->n].from_us = now_us;
    m->grants[m->n].until_us = until;
    m->grants[m->n++].amount = 1 + chance(12);
}

/* Another table, filled from what the model knows. */
static struct limit_table *rebuild(struct limit_table *t, const struct model *m, int day)
{
    limit_table_close(t);
    t = make();
    uint32_t index = feed(t, m, day);
    for (int d = day - 1; d <= day; d++)
        CU_ASSERT_EQUAL(limit_table_add(t, index, 0, LIMIT_ALL_WINDOWS, FIRST + d * DAY, m->used[d] * UNIT), STATUS_OK);
    return t;
}

/* Calls until one is refused, or as many as there are; each is what the model says. */
static void call(struct limit_table *t, struct model *m, int day, int64_t now_us, int most)
{
    struct limit_ask ask = {.metric = 0, .amount = UNIT};
    struct limit_answer a;
    for (int i = 0; i < most; i++) {
        bool may = m->used[day] < allowed(m, day, now_us);
        CU_ASSERT_EQUAL_FATAL(limit_table_decide(t, 0, &ask, 1, now_us, true, &a), STATUS_OK);
        CU_ASSERT_EQUAL_FATAL(a.reason == LIMIT_ADMITTED, may);
        limit_table_done(t);
        if (!may) {
            CU_ASSERT_EQUAL(a.limits[0].verdict.limit, allowed(m, day, now_us) * UNIT);
            return;
        }
        m->used[day]++;
    }
}

static void test_days_grants_ends_late_events_and_new_tables(void)
{
    for (int round = 0; round < 60; round++) {
        struct model m = {0};
        struct limit_table *t = make();
        int64_t plan = 3 + chance(5), asked;
        m.plan[0] = plan;
        for (int day = 1; day < DAYS; day++) {
            m.plan[day] = plan;
            if (day == 1 || day % 5 == 0 || chance(3) == 0) /* else the day turns without the collector */
                feed(t, &m, day);
            for (int part = 0; part < 3; part++) {
                int64_t now = FIRST + day * DAY + part * 7 * HOUR + HOUR;
                if (chance(3) == 0) {
                    grant(&m, day, now);
                    feed(t, &m, day);
                }
                if (chance(6) == 0) { /* of yesterday, from another node */
                    int64_t late = chance(4);
                    m.used[day - 1] += late;
                    CU_ASSERT_EQUAL(limit_table_add(t, 0, 0, LIMIT_ALL_WINDOWS, FIRST + day * DAY - HOUR, late * UNIT),
                                    STATUS_OK);
                }
                if (chance(15) == 0)
                    t = rebuild(t, &m, day);
                call(t, &m, day, now, chance(10));
                CU_ASSERT_EQUAL(limit_table_credit(t, 0, 0, now, &asked), STATUS_OK);
                CU_ASSERT_EQUAL(asked, (allowed(&m, day, now) - m.plan[day]) * UNIT);
            }
            if (chance(8) == 0) { /* from the next day on */
                plan = chance(8);
                m.plan[day + 1 < DAYS ? day + 1 : day] = plan;
                if (day + 1 < DAYS)
                    feed(t, &m, day + 1);
            }
        }
        limit_table_close(t);
    }
}

static void test_a_gauge_has_more_until_the_credit_ends(void)
{
    struct limit_table *t = make();
    struct limit_tenant who = tenant(5, 1);
    struct limit_ask ask = {.metric = 1, .amount = UNIT};
    struct limit_answer a;
    uint32_t index;
    who.limits[1] = (struct limit){.max = 10 * UNIT, .until_us = LIMIT_NEVER, .max_after = 10 * UNIT};
    who.n_credits = 1;
    who.credits[0] = (struct limit_credit){.slot = 1, .n = 1, .grants = {{FIRST, FIRST + 2 * DAY, 3 * UNIT}}};
    CU_ASSERT_EQUAL_FATAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_set_gauge(t, index, 1, 12 * UNIT), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_decide(t, index, &ask, 1, FIRST + 2 * DAY - 1, false, &a), STATUS_OK);
    CU_ASSERT_EQUAL(a.reason, LIMIT_ADMITTED);
    CU_ASSERT_EQUAL(a.limits[0].verdict.limit, 13 * UNIT);
    CU_ASSERT_EQUAL(limit_table_decide(t, index, &ask, 1, FIRST + 2 * DAY, false, &a), STATUS_OK);
    CU_ASSERT_EQUAL(a.reason, LIMIT_REACHED);
    CU_ASSERT_EQUAL(a.limits[0].verdict.limit, 10 * UNIT);
    limit_table_close(t);
}

static void test_what_is_published_can_be_read_and_taken_back(void)
{
    struct limit_table *t = make();
    struct limit_tenant who = tenant(5, 1), seen;
    uint32_t index;
    who.n_credits = 1;
    who.credits[0] = (struct limit_credit){.slot = 0, .n = 1, .grants = {{FIRST, FIRST + 9 * DAY, 3 * UNIT}}};
    CU_ASSERT_EQUAL_FATAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_tenant(t, index, &seen), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(seen.n_credits, 1);
    CU_ASSERT_EQUAL(memcmp(&seen.credits[0], &who.credits[0], sizeof seen.credits[0]), 0);
    who.n_credits = 0;
    CU_ASSERT_EQUAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_tenant(t, index, &seen), STATUS_OK);
    CU_ASSERT_EQUAL(seen.n_credits, 0);
    who.n_credits = LIMIT_CREDITS + 1;
    CU_ASSERT_EQUAL(limit_table_put_tenant(t, &who, &index), STATUS_INVALID);
    limit_table_close(t);
}

int main(void)
{
    if (sodium_init() < 0 || !mkdtemp(dir) || CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite("credits", NULL, NULL);
    CU_ADD_TEST(suite, test_days_grants_ends_late_events_and_new_tables);
    CU_ADD_TEST(suite, test_a_gauge_has_more_until_the_credit_ends);
    CU_ADD_TEST(suite, test_what_is_published_can_be_read_and_taken_back);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    char path[300];
    snprintf(path, sizeof path, "rm -rf %s", dir);
    return system(path) != 0 || failed ? 1 : 0; /* NOLINT(cert-env33-c): a folder of the test's own */
}
