/* test_kept.c: segments that are stored: kept, taken out again, given back for space; and the number below which none is made */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/Basic.h>

#include "lib/base/clock.h"
#include "lib/meter/spool/spool.h"

static char dir[] = "/tmp/test-kept-XXXXXX";
static struct spool_node node;

static int set_up(void)
{
    return !mkdtemp(dir) || spool_node_load(dir, true, &node) != STATUS_OK;
}

static int tear_down(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* A segment of one event that its writer still has open. */
static uint64_t begin_segment(struct spool_writer **w)
{
    struct spool_options o = {.dir = dir,
                              .kind = SPOOL_GATE,
                              .sync = SPOOL_SYNC_NEVER,
                              .segment_bytes = 1 << 20,
                              .segment_age_us = INT64_C(3600000000)};
    struct event e = {.tenant = {"t", 1}, .metric = {"api_call", 8}, .value = 1};
    uint64_t bytes;
    CU_ASSERT_EQUAL_FATAL(spool_writer_open(&o, w), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(spool_append(*w, &e, 1, false), STATUS_OK);
    return spool_writer_segment(*w, &bytes);
}

/* A segment of one event, its writer gone. */
static uint64_t make_segment(void)
{
    struct spool_writer *w;
    uint64_t number = begin_segment(&w);
    spool_writer_close(w);
    return number;
}

static size_t listed(void)
{
    struct spool_segment *list;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &list, &n), STATUS_OK);
    free(list);
    return n;
}

static size_t kept(uint64_t *oldest)
{
    struct spool_kept *list;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_kept_list(dir, &list, &n), STATUS_OK);
    *oldest = n ? list[0].number : 0;
    free(list);
    return n;
}

static size_t gone(uint64_t *last, uint64_t *bytes)
{
    struct spool_kept *list;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_gone_list(dir, &list, &n), STATUS_OK);
    *last = n ? list[n - 1].number : 0;
    *bytes = n ? list[n - 1].bytes : 0;
    free(list);
    return n;
}

static void a_kept_segment_is_no_part_of_the_spool_and_comes_back_whole(void)
{
    uint64_t number = make_segment(), oldest;
    struct spool_reader *r;
    struct spool_damage damage;
    struct event e;
    uint64_t next;
    bool final;
    CU_ASSERT_EQUAL(kept(&oldest), 0);
    CU_ASSERT_EQUAL(spool_keep(dir, number), STATUS_OK);
    CU_ASSERT_EQUAL(listed(), 0);
    CU_ASSERT_EQUAL(kept(&oldest), 1);
    CU_ASSERT_EQUAL(oldest, number);
    CU_ASSERT_EQUAL(spool_kept_back(dir, number), STATUS_OK);
    CU_ASSERT_EQUAL(kept(&oldest), 0);
    CU_ASSERT_EQUAL(listed(), 1);
    CU_ASSERT_EQUAL_FATAL(spool_reader_open(dir, number, 0, NULL, &r), STATUS_OK);
    CU_ASSERT_EQUAL(spool_read(r, &e, &next, &damage, &final), STATUS_OK);
    CU_ASSERT_EQUAL(spool_read(r, &e, &next, &damage, &final), STATUS_END);
    CU_ASSERT_TRUE(final);
    spool_reader_close(r);
    CU_ASSERT_EQUAL(spool_remove(dir, number), STATUS_OK);
}

static void what_its_writer_holds_is_not_put_away(void)
{
    struct spool_writer *w;
    uint64_t number = begin_segment(&w);
    CU_ASSERT_EQUAL(spool_keep(dir, number), STATUS_CONFLICT);
    spool_writer_close(w);
    CU_ASSERT_EQUAL(spool_keep(dir, number), STATUS_OK);
}

static void the_oldest_goes_first_and_what_goes_is_remembered(void)
{
    const struct spool_keeping none = {.minutes = 60, .bytes = 0}, all = {.minutes = 60, .bytes = 1 << 30};
    const struct spool_keeping bound = {.minutes = 60, .bytes = 1 << 30, .spool_bytes = 5000, .spool_most = 5000};
    uint64_t a, b, oldest, last, bytes;
    CU_ASSERT_EQUAL(spool_kept_trim(dir, &none), STATUS_OK);
    spool_gone_clear(dir);
    CU_ASSERT_EQUAL(spool_keep(dir, a = make_segment()), STATUS_OK);
    usleep(20000); /* by the time of the file system */
    CU_ASSERT_EQUAL(spool_keep(dir, b = make_segment()), STATUS_OK);
    CU_ASSERT_EQUAL(spool_kept_trim(dir, &all), STATUS_OK);
    CU_ASSERT_EQUAL(kept(&oldest), 2);
    CU_ASSERT_EQUAL(oldest, a);
    CU_ASSERT_TRUE(spool_kept_give(dir));
    CU_ASSERT_EQUAL(kept(&oldest), 1);
    CU_ASSERT_EQUAL(oldest, b);
    CU_ASSERT_EQUAL(gone(&last, &bytes), 1);
    CU_ASSERT_EQUAL(last, a);
    CU_ASSERT(bytes > SPOOL_HEADER_BYTES);
    CU_ASSERT_EQUAL(spool_kept_trim(dir, &bound), STATUS_OK); /* spool.max_bytes holds for all together */
    CU_ASSERT_EQUAL(kept(&oldest), 0);
    CU_ASSERT_EQUAL(gone(&last, &bytes), 2);
    CU_ASSERT_FALSE(spool_kept_give(dir));
    spool_gone_clear(dir);
    CU_ASSERT_EQUAL(gone(&last, &bytes), 0);
}

static void what_is_older_than_its_minutes_goes(void)
{
    const struct spool_keeping hour = {.minutes = 60, .bytes = 1 << 30}, at_once = {.minutes = 0, .bytes = 1 << 30};
    uint64_t oldest;
    CU_ASSERT_EQUAL(spool_keep(dir, make_segment()), STATUS_OK);
    CU_ASSERT_EQUAL(spool_kept_trim(dir, &hour), STATUS_OK);
    CU_ASSERT_EQUAL(kept(&oldest), 1);
    usleep(20000);
    CU_ASSERT_EQUAL(spool_kept_trim(dir, &at_once), STATUS_OK);
    CU_ASSERT_EQUAL(kept(&oldest), 0);
}

/* Whatever the clock says: a number below the floor counts as stored. */
static void no_segment_is_made_below_the_floor(void)
{
    uint64_t ahead = (uint64_t)(clock_wall_us() + 3600 * CLOCK_US_PER_SECOND) << 12, floor, number;
    CU_ASSERT_EQUAL(spool_floor(dir, &floor), STATUS_OK);
    CU_ASSERT_EQUAL(spool_floor_raise(dir, ahead), STATUS_OK);
    CU_ASSERT_EQUAL(spool_floor_raise(dir, ahead - 1), STATUS_OK); /* it never falls */
    CU_ASSERT_EQUAL(spool_floor(dir, &floor), STATUS_OK);
    CU_ASSERT_EQUAL(floor, ahead);
    number = make_segment();
    CU_ASSERT(number >= ahead);
    CU_ASSERT_NOT_EQUAL(make_segment(), number);
}

static void the_starts_of_a_node_are_remembered_in_order(void)
{
    unsigned char token[16] = {1}, *list;
    size_t n;
    CU_ASSERT_EQUAL(spool_starts_add(dir, token), STATUS_OK);
    CU_ASSERT_EQUAL(spool_starts_add(dir, token), STATUS_OK); /* the same again: once */
    token[0] = 2;
    CU_ASSERT_EQUAL(spool_starts_add(dir, token), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(spool_starts(dir, &list, &n), STATUS_OK);
    CU_ASSERT_EQUAL(n, 2);
    CU_ASSERT(n == 2 && list[0] == 1 && list[16] == 2);
    free(list);
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("kept", set_up, tear_down);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(a_kept_segment_is_no_part_of_the_spool_and_comes_back_whole);
    ADD(what_its_writer_holds_is_not_put_away);
    ADD(the_oldest_goes_first_and_what_goes_is_remembered);
    ADD(what_is_older_than_its_minutes_goes);
    ADD(no_segment_is_made_below_the_floor);
    ADD(the_starts_of_a_node_are_remembered_in_order);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
