/* test_spool.c: what is appended is read back, whatever happens to the bytes */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CUnit/Basic.h>

#include "lib/base/clock.h"
#include "lib/meter/spool/spool.h"

static char dir[] = "/tmp/test-spool-XXXXXX";
static struct spool_node node;

/* In place of the C library's: counts what spool_sync syncs. */
static int syncs;

int fdatasync(int fd)
{
    syncs++;
    return fd < 0 ? -1 : 0;
}

/* In place of the C library's: counts how often a writer looks at the others' segments. */
static int looks;

void rewinddir(DIR *d)
{
    void (*real)(DIR *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "rewinddir");
    looks++;
    real(d);
}

/* Of the address sanitizer's library; gcc brings no header that declares it. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
static size_t allocations;

static void count_allocation(const volatile void *at, size_t size)
{
    (void)at, (void)size;
    allocations++;
}

static void count_nothing(const volatile void *at)
{
    (void)at;
}

static struct text text(const char *s)
{
    return (struct text){s, strlen(s)};
}

static struct spool_writer *open_writer(size_t segment_bytes)
{
    struct spool_options o = {.dir = dir,
                              .kind = SPOOL_GATE,
                              .sync = SPOOL_SYNC_NEVER,
                              .segment_bytes = segment_bytes,
                              .segment_age_us = INT64_C(3600000000)};
    struct spool_writer *w = NULL;
    CU_ASSERT_EQUAL_FATAL(spool_writer_open(&o, &w), STATUS_OK);
    return w;
}

static enum status append(struct spool_writer *w, int64_t value)
{
    struct event e = {.tenant = text("t1"),
                      .metric = text("api_call"),
                      .metadata = text("{\"endpoint\":\"/api/x\"}"),
                      .value = value};
    return spool_append(w, &e, 1, false);
}

static void empty_spool(void)
{
    struct spool_segment *s;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &s, &n), STATUS_OK);
    for (size_t i = 0; i < n; i++)
        CU_ASSERT_EQUAL(spool_remove(dir, s[i].number), STATUS_OK);
    free(s);
}

/* Reads a whole segment; the sum of values, the number of records and of damaged ranges. */
static void read_all(uint64_t number, int64_t *sum, size_t *records, size_t *damaged, size_t *torn, bool *final)
{
    struct spool_reader *r;
    struct spool_damage d;
    struct event e;
    uint64_t next;
    *sum = 0;
    *records = *damaged = *torn = 0;
    CU_ASSERT_EQUAL_FATAL(spool_reader_open(dir, number, 0, node.uuid, &r), STATUS_OK);
    for (enum status s; (s = spool_read(r, &e, &next, &d, final)) != STATUS_END;) {
        if (s == STATUS_OK) {
            *sum += e.value;
            ++*records;
        } else {
            CU_ASSERT_EQUAL_FATAL(s, STATUS_DAMAGED);
            *torn += d.torn_tail;
            *damaged += !d.torn_tail;
        }
    }
    spool_reader_close(r);
}

static uint64_t write_segment(int records)
{
    uint64_t bytes;
    struct spool_writer *w = open_writer(1 << 20);
    for (int i = 1; i <= records; i++)
        CU_ASSERT_EQUAL(append(w, i), STATUS_OK);
    uint64_t number = spool_writer_segment(w, &bytes);
    spool_writer_close(w);
    return number;
}

static void path_of(uint64_t number, char out[256])
{
    snprintf(out, 256, "%s/%016llx.seg", dir, (unsigned long long)number);
}

static void what_is_appended_is_read_back_in_order(void)
{
    struct spool_writer *w = open_writer(1 << 20);
    struct event e = {.tenant = text("tenant"),
                      .metric = text("file_upload"),
                      .source = text("s"),
                      .id = text("id-1"),
                      .metadata = text("{}"),
                      .value = -5 * EVENT_MILLION,
                      .recorded_us = 42,
                      .flags = EVENT_COUNTED};
    CU_ASSERT_EQUAL(spool_append(w, &e, 1, true), STATUS_OK);
    CU_ASSERT_EQUAL(append(w, 7), STATUS_OK);
    uint64_t bytes, next, number = spool_writer_segment(w, &bytes);
    struct spool_reader *r;
    struct spool_damage d;
    struct event got;
    bool final;
    CU_ASSERT_EQUAL_FATAL(spool_reader_open(dir, number, 0, NULL, &r), STATUS_OK);
    CU_ASSERT_EQUAL(spool_read(r, &got, &next, &d, &final), STATUS_OK);
    CU_ASSERT_EQUAL(got.value, -5 * EVENT_MILLION);
    CU_ASSERT_EQUAL(got.recorded_us, 42);
    CU_ASSERT_EQUAL(got.flags, EVENT_COUNTED);
    CU_ASSERT_EQUAL(got.sequence, 0);
    CU_ASSERT(got.id.length == 4 && memcmp(got.id.at, "id-1", 4) == 0);
    CU_ASSERT_EQUAL(spool_read(r, &got, &next, &d, &final), STATUS_OK);
    CU_ASSERT_EQUAL(got.sequence, 1);
    CU_ASSERT(got.recorded_us == got.appended_us && got.appended_us > 0);
    CU_ASSERT_EQUAL(next, bytes);
    CU_ASSERT_EQUAL(spool_read(r, &got, &next, &d, &final), STATUS_END);
    CU_ASSERT_FALSE(final);
    CU_ASSERT_EQUAL(append(w, 8), STATUS_OK);
    CU_ASSERT_EQUAL(spool_read(r, &got, &next, &d, &final), STATUS_OK);
    CU_ASSERT_EQUAL(got.value, 8);
    spool_writer_close(w);
    CU_ASSERT_EQUAL(spool_read(r, &got, &next, &d, &final), STATUS_END);
    CU_ASSERT_TRUE(final);
    spool_reader_close(r);
    empty_spool();
}

static void a_segment_that_is_full_is_followed_by_another(void)
{
    struct spool_writer *w = open_writer(65536);
    for (int i = 0; i < 2000; i++)
        CU_ASSERT_EQUAL_FATAL(append(w, 1), STATUS_OK);
    struct spool_segment *s;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &s, &n), STATUS_OK);
    CU_ASSERT(n >= 3);
    int64_t sum, total = 0;
    size_t records, damaged, torn;
    bool final;
    for (size_t i = 0; i < n; i++) {
        CU_ASSERT(s[i].bytes <= 65536 && s[i].header_intact);
        CU_ASSERT_EQUAL(s[i].live, i == n - 1);
        read_all(s[i].number, &sum, &records, &damaged, &torn, &final);
        total += sum;
    }
    CU_ASSERT_EQUAL(total, 2000);
    CU_ASSERT_EQUAL(spool_remove(dir, s[n - 1].number), STATUS_CONFLICT);
    free(s);
    spool_writer_close(w);
    empty_spool();
}

static void a_torn_record_at_a_dead_writers_end_is_told_apart_from_damage(void)
{
    uint64_t number = write_segment(10);
    char path[256];
    struct stat st;
    int64_t sum;
    size_t records, damaged, torn;
    bool final;
    path_of(number, path);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(truncate(path, st.st_size - 9), 0);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT_EQUAL(records, 9);
    CU_ASSERT(damaged == 0 && torn == 1 && final);
    empty_spool();
}

static void a_flipped_bit_costs_one_record_and_is_reported(void)
{
    uint64_t number = write_segment(10);
    char path[256], byte;
    int64_t sum;
    size_t records, damaged, torn;
    bool final;
    path_of(number, path);
    int fd = open(path, O_RDWR);
    CU_ASSERT_FATAL(fd >= 0);
    off_t at = 64 + 104 * 3 + 70;
    CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT_EQUAL(records, 9);
    CU_ASSERT_EQUAL(damaged, 1);
    CU_ASSERT_EQUAL(torn, 0);
    empty_spool();
}

static void a_damaged_length_does_not_hide_what_is_behind_it(void)
{
    uint64_t number = write_segment(10);
    char path[256];
    int64_t sum;
    size_t records, damaged, torn;
    bool final;
    path_of(number, path);
    int fd = open(path, O_RDWR);
    unsigned char huge[4] = {0x00, 0xff, 0x00, 0x00};
    CU_ASSERT_EQUAL(pwrite(fd, huge, 4, 64 + 4), 4);
    close(fd);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT_EQUAL(records, 9);
    CU_ASSERT_EQUAL(damaged, 1);
    empty_spool();
}

static void a_record_moved_to_another_place_is_not_taken_for_one(void)
{
    uint64_t number = write_segment(10);
    char path[256];
    int64_t sum;
    size_t records, damaged, torn;
    bool final;
    path_of(number, path);
    int fd = open(path, O_RDWR);
    struct stat st;
    fstat(fd, &st);
    size_t one = (size_t)(st.st_size - 64) / 10;
    char record[512];
    CU_ASSERT_FATAL(one <= sizeof record);
    CU_ASSERT_EQUAL(pread(fd, record, one, 64), (ssize_t)one);
    CU_ASSERT_EQUAL(pwrite(fd, record, one, st.st_size), (ssize_t)one); /* a stale tail: the first record again */
    close(fd);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT_EQUAL(records, 10);
    CU_ASSERT_EQUAL(sum, 55);
    CU_ASSERT_EQUAL(damaged, 1);
    empty_spool();
}

static void a_damaged_header_leaves_the_records_to_be_found(void)
{
    uint64_t number = write_segment(10);
    char path[256];
    int64_t sum;
    size_t records, damaged, torn;
    bool final;
    struct spool_reader *r;
    path_of(number, path);
    int fd = open(path, O_RDWR);
    CU_ASSERT_EQUAL(pwrite(fd, "xxxx", 4, 20), 4);
    close(fd);
    CU_ASSERT_EQUAL(spool_reader_open(dir, number, 0, NULL, &r), STATUS_DAMAGED);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT_EQUAL(records, 10);
    empty_spool();
}

/* A reader right behind a writer sees records that are half there; such a one must wait, never count as damage. */
static void a_record_that_is_being_written_is_not_taken_for_damage(void)
{
    enum { RECORDS = 60000 };
    struct spool_writer *w = open_writer(64 << 20);
    uint64_t bytes, number, next;
    CU_ASSERT_EQUAL_FATAL(append(w, 1), STATUS_OK);
    number = spool_writer_segment(w, &bytes);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 1; i < RECORDS; i++)
            if (append(w, 1) != STATUS_OK)
                _exit(1);
        _exit(0); /* the parent's copy of the descriptor holds the lock on */
    }
    struct spool_reader *r;
    struct spool_damage d;
    struct event e;
    bool final;
    size_t read = 0, damaged = 0;
    CU_ASSERT_EQUAL_FATAL(spool_reader_open(dir, number, 0, node.uuid, &r), STATUS_OK);
    for (int64_t until = clock_mono_us() + 20 * CLOCK_US_PER_SECOND; read < RECORDS && clock_mono_us() < until;) {
        enum status s = spool_read(r, &e, &next, &d, &final);
        read += s == STATUS_OK;
        damaged += s == STATUS_DAMAGED;
    }
    CU_ASSERT_EQUAL(read, RECORDS);
    CU_ASSERT_EQUAL(damaged, 0);
    spool_reader_close(r);
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    spool_writer_close(w);
    empty_spool();
}

static void a_killed_writer_loses_nothing_that_was_appended(void)
{
    int pipes[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct spool_writer *w = open_writer(1 << 20);
        for (int i = 1; append(w, 1) == STATUS_OK; i++)
            if (write(pipes[1], &i, sizeof i) != sizeof i)
                _exit(1);
        _exit(0);
    }
    int acknowledged = 0, i;
    CU_ASSERT_EQUAL_FATAL(read(pipes[0], &acknowledged, sizeof acknowledged),
                          (ssize_t)sizeof acknowledged); /* it writes */
    usleep(20000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(pipes[1]);
    while (read(pipes[0], &i, sizeof i) == sizeof i)
        acknowledged = i;
    close(pipes[0]);
    struct spool_segment *s;
    size_t n, records, damaged, torn;
    int64_t sum, total = 0;
    bool final;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &s, &n), STATUS_OK);
    for (size_t k = 0; k < n; k++) {
        CU_ASSERT_FALSE(s[k].live);
        read_all(s[k].number, &sum, &records, &damaged, &torn, &final);
        CU_ASSERT(final && damaged == 0);
        total += sum;
    }
    CU_ASSERT(acknowledged > 0 && total >= acknowledged && total <= acknowledged + 1);
    free(s);
    empty_spool();
}

static void the_bound_of_the_spool_refuses_and_stores_nothing(void)
{
    struct spool_options o = {.dir = dir,
                              .kind = SPOOL_WEB,
                              .segment_bytes = 65536,
                              .segment_age_us = INT64_C(3600000000),
                              .max_bytes = 200000};
    struct spool_writer *w;
    CU_ASSERT_EQUAL_FATAL(spool_writer_open(&o, &w), STATUS_OK);
    int stored = 0;
    enum status s;
    while ((s = append(w, 1)) == STATUS_OK && stored < 100000)
        stored++;
    CU_ASSERT_EQUAL(s, STATUS_NO_SPACE);
    spool_writer_close(w);
    struct spool_segment *list;
    size_t n, records, damaged, torn, all = 0;
    int64_t sum;
    bool final;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &list, &n), STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        read_all(list[i].number, &sum, &records, &damaged, &torn, &final);
        all += records;
    }
    CU_ASSERT_EQUAL(all, (size_t)stored);
    free(list);
    empty_spool();
}

static void an_append_below_or_beyond_the_bound_allocates_nothing_and_looks_once_a_second(void)
{
    struct spool_options o = {.dir = dir,
                              .kind = SPOOL_GATE,
                              .segment_bytes = 65536,
                              .segment_age_us = INT64_C(3600000000),
                              .max_bytes = 1 << 20};
    struct spool_writer *w;
    enum status s = STATUS_OK;
    CU_ASSERT_EQUAL_FATAL(spool_writer_open(&o, &w), STATUS_OK);
    int64_t began = clock_mono_us();
    int refused = 0, stored = 0;
    looks = 0;
    size_t before = allocations;
    while (refused < 1000) {
        s = append(w, 1);
        stored += s == STATUS_OK;
        refused += s == STATUS_NO_SPACE;
        if (s != STATUS_OK && s != STATUS_NO_SPACE)
            break;
    }
    CU_ASSERT_EQUAL(allocations - before, 0);
    CU_ASSERT(stored > 1000);
    CU_ASSERT(looks > 0 && looks <= 1 + (clock_mono_us() - began) / 1000000);
    spool_writer_close(w);
    empty_spool();
}

static void room_that_others_make_is_found_within_a_second(void)
{
    write_segment(1000);
    struct spool_options o = {.dir = dir,
                              .kind = SPOOL_GATE,
                              .segment_bytes = 65536,
                              .segment_age_us = INT64_C(3600000000),
                              .max_bytes = 20000};
    struct spool_writer *w;
    CU_ASSERT_EQUAL_FATAL(spool_writer_open(&o, &w), STATUS_OK);
    CU_ASSERT_EQUAL(append(w, 1), STATUS_NO_SPACE);
    struct spool_segment *list;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(spool_list(dir, &list, &n), STATUS_OK);
    for (size_t i = 0; i < n; i++)
        if (!list[i].live)
            CU_ASSERT_EQUAL(spool_remove(dir, list[i].number), STATUS_OK);
    free(list);
    int64_t until = clock_mono_us() + 1500000;
    enum status s;
    while ((s = append(w, 1)) == STATUS_NO_SPACE && clock_mono_us() < until)
        usleep(20000);
    CU_ASSERT_EQUAL(s, STATUS_OK);
    spool_writer_close(w);
    empty_spool();
}

static void an_event_out_of_its_bounds_is_refused(void)
{
    struct spool_writer *w = open_writer(1 << 20);
    struct event e = {.tenant = text(""), .metric = text("m"), .value = 1};
    CU_ASSERT_EQUAL(spool_append(w, &e, 1, false), STATUS_INVALID);
    e = (struct event){.tenant = text("t"), .metric = text("m"), .value = EVENT_VALUE_MAX + 1};
    CU_ASSERT_EQUAL(spool_append(w, &e, 1, false), STATUS_INVALID);
    spool_writer_close(w);
    empty_spool();
}

static void a_segment_that_its_writer_left_is_synced_once(void)
{
    struct spool_writer *w = open_writer(1 << 20);
    CU_ASSERT_EQUAL(append(w, 1), STATUS_OK);
    write_segment(3);
    syncs = 0;
    CU_ASSERT_EQUAL(spool_sync(dir), STATUS_OK);
    CU_ASSERT_EQUAL(syncs, 2);
    CU_ASSERT_EQUAL(spool_sync(dir), STATUS_OK);
    CU_ASSERT_EQUAL(syncs, 3); /* the one that is being written */
    spool_writer_close(w);
    CU_ASSERT_EQUAL(spool_sync(dir), STATUS_OK);
    CU_ASSERT_EQUAL(spool_sync(dir), STATUS_OK);
    CU_ASSERT_EQUAL(syncs, 4);
    empty_spool();
}

/* Cut at every byte, as a write that a full disk ended and that could not be taken back. */
static void of_events_appended_together_all_are_read_or_none(void)
{
    struct spool_writer *w = open_writer(1 << 20);
    struct event one = {.tenant = text("t1"), .metric = text("api_call"), .value = 1}, three[3] = {one, one, one};
    uint64_t first, all, number;
    char path[256];
    bool final;
    int64_t sum;
    size_t records, damaged, torn;
    CU_ASSERT_EQUAL(spool_append(w, &one, 1, false), STATUS_OK);
    spool_writer_segment(w, &first);
    CU_ASSERT_EQUAL(spool_append(w, three, 3, false), STATUS_OK);
    number = spool_writer_segment(w, &all);
    spool_writer_close(w);
    read_all(number, &sum, &records, &damaged, &torn, &final);
    CU_ASSERT(records == 4 && damaged == 0 && torn == 0);
    path_of(number, path);
    for (uint64_t bytes = all - 1; bytes >= first; bytes--) {
        CU_ASSERT_EQUAL_FATAL(truncate(path, (off_t)bytes), 0);
        read_all(number, &sum, &records, &damaged, &torn, &final);
        CU_ASSERT_EQUAL(records, 1);
        CU_ASSERT_EQUAL(damaged, 0);
        CU_ASSERT_EQUAL(torn, bytes > first);
        CU_ASSERT_TRUE(final);
    }
    empty_spool();
}

static void a_durable_append_is_synced_before_it_returns(void)
{
    struct spool_writer *w = open_writer(1 << 20);
    struct event e = {.tenant = text("t1"), .metric = text("api_call"), .value = 1};
    syncs = 0;
    CU_ASSERT_EQUAL(spool_append(w, &e, 1, true), STATUS_OK);
    CU_ASSERT_EQUAL(syncs, 1);
    CU_ASSERT_EQUAL(append(w, 1), STATUS_OK);
    CU_ASSERT_EQUAL(syncs, 1);
    spool_writer_close(w);
    empty_spool();
}

/* Two containers that share a spool have processes with one id. */
static void what_another_writer_of_the_same_process_id_is_making_is_left_alone(void)
{
    char others[256], left[256];
    struct stat st;
    struct timespec old[2] = {{.tv_sec = time(NULL) - 600}, {.tv_sec = time(NULL) - 600}};
    snprintf(others, sizeof others, "%s/.%d.new", dir, (int)getpid());
    snprintf(left, sizeof left, "%s/.%016x.new", dir, 7);
    int a = open(others, O_WRONLY | O_CREAT, 0600), b = open(left, O_WRONLY | O_CREAT, 0600);
    CU_ASSERT_FATAL(a >= 0 && b >= 0);
    CU_ASSERT_EQUAL(futimens(b, old), 0);
    write_segment(1);
    CU_ASSERT_EQUAL(stat(others, &st), 0);
    CU_ASSERT_EQUAL(stat(left, &st), -1); /* of a killed writer, swept when one opens */
    close(a);
    close(b);
    unlink(others);
    empty_spool();
}

static int set_up(void)
{
    if (!__sanitizer_install_malloc_and_free_hooks(count_allocation, count_nothing))
        return 1;
    return mkdtemp(dir) && spool_node_load(dir, true, &node) == STATUS_OK ? 0 : 1;
}

static int tear_down(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("spool", set_up, tear_down);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(what_is_appended_is_read_back_in_order);
    ADD(a_segment_that_is_full_is_followed_by_another);
    ADD(a_torn_record_at_a_dead_writers_end_is_told_apart_from_damage);
    ADD(a_flipped_bit_costs_one_record_and_is_reported);
    ADD(a_damaged_length_does_not_hide_what_is_behind_it);
    ADD(a_record_moved_to_another_place_is_not_taken_for_one);
    ADD(a_damaged_header_leaves_the_records_to_be_found);
    ADD(a_record_that_is_being_written_is_not_taken_for_damage);
    ADD(a_killed_writer_loses_nothing_that_was_appended);
    ADD(the_bound_of_the_spool_refuses_and_stores_nothing);
    ADD(an_append_below_or_beyond_the_bound_allocates_nothing_and_looks_once_a_second);
    ADD(room_that_others_make_is_found_within_a_second);
    ADD(an_event_out_of_its_bounds_is_refused);
    ADD(a_segment_that_its_writer_left_is_synced_once);
    ADD(of_events_appended_together_all_are_read_or_none);
    ADD(a_durable_append_is_synced_before_it_returns);
    ADD(what_another_writer_of_the_same_process_id_is_making_is_left_alone);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
