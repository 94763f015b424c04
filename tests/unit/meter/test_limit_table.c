/* test_limit_table.c: exactly what is left passes, whoever is killed, whatever happens to the file */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/Basic.h>
#include <sodium.h>

#include "lib/base/clock.h"
#include "lib/meter/limit_table/layout.h"

#define NOW INT64_C(1800000000000000)
#define DAY INT64_C(86400000000)

static char dir[] = "/tmp/test-table-XXXXXX";
static const unsigned char node[16] = "0123456789abcdef";
static int kills = 100;

static struct limit_catalogue catalogue(void)
{
    struct limit_catalogue c = {.n_metrics = 3, .n_limits = 4};
    strcpy(c.metrics[0].name, "api_call");
    strcpy(c.metrics[1].name, "file_upload");
    strcpy(c.metrics[2].name, "patients_count");
    c.metrics[2].kind = LIMIT_KIND_GAUGE;
    const char *keys[] = {"api_calls_per_day", "api_calls_per_minute", "file_uploads_per_period", "max_patients"};
    uint8_t metrics[] = {0, 0, 1, 2},
            windows[] = {LIMIT_WINDOW_DAY, LIMIT_WINDOW_MINUTE, LIMIT_WINDOW_PERIOD, LIMIT_WINDOW_NONE};
    for (int i = 0; i < 4; i++) {
        strcpy(c.limits[i].key, keys[i]);
        c.limits[i].metric = metrics[i];
        c.limits[i].window = windows[i];
    }
    return c;
}

static struct limit_tenant tenant(const char *id, int64_t a_day, int64_t uploads, int64_t first_day_us)
{
    struct limit_tenant t = {.state = LIMIT_TENANT_ACTIVE, .held = 7};
    snprintf(t.id, sizeof t.id, "%s", id);
    strcpy(t.tier, "starter");
    for (int i = 0; i < LIMIT_TABLE_LIMITS; i++)
        t.limits[i] = (struct limit){.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
    t.limits[0].max = a_day < 0 ? LIMIT_UNLIMITED : a_day * EVENT_MILLION;
    t.limits[2].max = uploads < 0 ? LIMIT_UNLIMITED : uploads * EVENT_MILLION;
    for (int i = 0; i < LIMIT_DAYS; i++)
        t.days[i] = (struct limit_span){first_day_us + i * DAY, first_day_us + (i + 1) * DAY, 3600, 0};
    for (int i = 0; i < LIMIT_PERIODS; i++)
        t.periods[i] = (struct limit_span){first_day_us + (i - 1) * 30 * DAY, first_day_us + i * 30 * DAY, 3600, 0};
    return t;
}

static struct limit_table *fresh_table(void)
{
    struct limit_table *t = NULL;
    bool fresh;
    char path[300];
    snprintf(path, sizeof path, "%s/" TABLE_FILE, dir);
    unlink(path);
    CU_ASSERT_EQUAL_FATAL(limit_table_create(dir, node, &t, &fresh), STATUS_OK);
    CU_ASSERT_TRUE(fresh);
    struct limit_catalogue c = catalogue();
    CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &c), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(limit_table_ready(t), STATUS_OK);
    return t;
}

static uint32_t put(struct limit_table *t, struct limit_tenant who)
{
    uint32_t index = 0;
    CU_ASSERT_EQUAL_FATAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    return index;
}

static const struct limit_ask one_call[] = {{0, EVENT_MILLION}};

static bool take(struct limit_table *t, uint32_t index, const struct limit_ask *asks, size_t n, int64_t now)
{
    struct limit_answer a;
    if (limit_table_decide(t, index, asks, n, now, true, &a) != STATUS_OK)
        return false;
    limit_table_done(t);
    return a.reason == LIMIT_ADMITTED;
}

static int64_t used(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at)
{
    int64_t n = -1;
    CU_ASSERT_EQUAL(limit_table_count(t, index, slot, at, &n), STATUS_OK);
    return n / EVENT_MILLION;
}

/* The level of patients_count, by a decision that asks for room. */
static int64_t level(struct limit_table *t, uint32_t index)
{
    const struct limit_ask room = {2, 0};
    struct limit_answer a = {0};
    CU_ASSERT_EQUAL(limit_table_decide(t, index, &room, 1, NOW, false, &a), STATUS_OK);
    return a.limits[0].verdict.used / EVENT_MILLION;
}

static void a_posted_level_counts_by_when_it_was_recorded(void)
{
    static const struct {
        int64_t at, value;
        bool delta;
        int64_t then;
    } posts[] = {
        {NOW, 5, false, 5},       {NOW + 1, 3, true, 8},   {NOW, 1, true, 9},      {NOW - 1, 100, true, 9},
        {NOW - 1, 100, false, 9}, {NOW + 1, 7, false, 7},  {NOW + 1, -4, true, 3}, {NOW, 100, true, 3},
        {NOW + 9, -10, true, -7}, {NOW + 5, 1, false, -7}, /* what the changes behind it come to, the database knows */
    };
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", -1, -1, NOW - DAY));
    for (size_t i = 0; i < sizeof posts / sizeof posts[0]; i++) {
        CU_ASSERT_EQUAL(
            limit_table_post_level(t, index, 2, posts[i].at, posts[i].value * EVENT_MILLION, posts[i].delta),
            STATUS_OK);
        CU_ASSERT_EQUAL(level(t, index), posts[i].then);
    }
    limit_table_close(t);
}

static void a_level_of_the_database_leaves_newer_posts_alone(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", -1, -1, NOW - DAY));
    const struct limit_level stored = {5 * EVENT_MILLION, NOW, NOW}, again = {4 * EVENT_MILLION, NOW, NOW};
    CU_ASSERT_EQUAL(limit_table_set_level(t, index, 2, &stored, 0), STATUS_OK);
    CU_ASSERT_EQUAL(level(t, index), 5);
    CU_ASSERT_EQUAL(limit_table_post_level(t, index, 2, NOW + 5, 2 * EVENT_MILLION, true), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_set_level(t, index, 2, &stored, 0),
                    STATUS_OK); /* another node's news: the post is on its way */
    CU_ASSERT_EQUAL(level(t, index), 7);
    CU_ASSERT_EQUAL(limit_table_set_level(t, index, 2, &stored, NOW + 4), STATUS_OK); /* an earlier batch */
    CU_ASSERT_EQUAL(level(t, index), 7);
    CU_ASSERT_EQUAL(limit_table_set_level(t, index, 2, &stored, NOW + 5), STATUS_OK); /* its own: it was a duplicate */
    CU_ASSERT_EQUAL(level(t, index), 5);
    CU_ASSERT_EQUAL(limit_table_set_level(t, index, 2, &again, 0), STATUS_OK); /* repaired */
    CU_ASSERT_EQUAL(level(t, index), 4);
    limit_table_close(t);
}

/* Each of 8 processes adds 500 and takes 499 off. */
static void changes_of_many_processes_add_up(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", -1, -1, NOW - DAY));
    int status;
    for (int p = 0; p < 8; p++)
        if (fork() == 0) {
            struct limit_table *mine;
            if (limit_table_open(dir, &mine) != STATUS_OK)
                _exit(1);
            for (int i = 0; i < 999; i++)
                if (limit_table_post_level(mine, index, 2, NOW + i, i % 2 ? -EVENT_MILLION : EVENT_MILLION, true) !=
                    STATUS_OK)
                    _exit(1);
            _exit(0);
        }
    for (int p = 0; p < 8; p++) {
        wait(&status);
        CU_ASSERT_EQUAL(status, 0);
    }
    CU_ASSERT_EQUAL(level(t, index), 8);
    limit_table_close(t);
}

static void with_n_left_n_pass_across_processes(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", 5000, -1, NOW - DAY));
    int pipes[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    for (int p = 0; p < 8; p++)
        if (fork() == 0) {
            struct limit_table *mine;
            int passed = 0;
            if (limit_table_open(dir, &mine) != STATUS_OK || limit_table_join(mine) != STATUS_OK)
                _exit(1);
            for (int i = 0; i < 2000; i++)
                passed += take(mine, index, one_call, 1, NOW);
            if (write(pipes[1], &passed, sizeof passed) != sizeof passed)
                _exit(1);
            limit_table_close(mine);
            _exit(0);
        }
    int sum = 0, passed, status;
    for (int p = 0; p < 8; p++) {
        CU_ASSERT_EQUAL(read(pipes[0], &passed, sizeof passed), (ssize_t)sizeof passed);
        sum += passed;
        wait(&status);
        CU_ASSERT_EQUAL(status, 0);
    }
    close(pipes[0]);
    close(pipes[1]);
    CU_ASSERT_EQUAL(sum, 5000);
    CU_ASSERT_EQUAL(used(t, index, 0, NOW), 5000);
    limit_table_close(t);
}

static void several_limits_are_taken_all_or_none(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", 10, 3, NOW - DAY));
    const struct limit_ask both[] = {{0, EVENT_MILLION}, {1, EVENT_MILLION}};
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(take(t, index, both, 2, NOW));
    CU_ASSERT_EQUAL(limit_table_decide(t, index, both, 2, NOW, true, &a), STATUS_OK);
    CU_ASSERT_EQUAL(a.reason, LIMIT_REACHED);
    CU_ASSERT_EQUAL(a.limits[a.decisive].metric, 1);
    CU_ASSERT_EQUAL(used(t, index, 0, NOW), 3);
    CU_ASSERT_EQUAL(used(t, index, 2, NOW), 3);
    CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW));
    limit_table_close(t);
}

static void an_undone_take_costs_nothing(void)
{
    struct limit_table *t = fresh_table();
    struct limit_tenant who = tenant("t1", 1, -1, NOW - DAY);
    who.limits[1].max = 1 * EVENT_MILLION;
    uint32_t index = put(t, who);
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(limit_table_decide(t, index, one_call, 1, NOW, true, &a), STATUS_OK);
        CU_ASSERT_EQUAL(a.reason, LIMIT_ADMITTED);
        CU_ASSERT_EQUAL(limit_table_undo(t, index, one_call, 1, &a), STATUS_OK);
    }
    CU_ASSERT_EQUAL(used(t, index, 0, NOW), 0);
    CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW));
    limit_table_close(t);
}

static void the_turn_of_a_day_needs_nobody(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", 2, -1, NOW - DAY));
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    for (int day = 0; day < 7; day++) {
        CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW + day * DAY));
        CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW + day * DAY + DAY - 1));
        CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW + day * DAY + DAY - 1));
    }
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_decide(t, index, one_call, 1, NOW + 7 * DAY, true, &a), STATUS_UNAVAILABLE);
    put(t, tenant("t1", 2, -1, NOW + 5 * DAY)); /* the ring goes on: days that stay keep their counts */
    CU_ASSERT_EQUAL(used(t, index, 0, NOW + 6 * DAY), 2);
    CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW + 7 * DAY));
    limit_table_close(t);
}

static void a_changed_limit_acts_at_once_and_keeps_the_count(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", 1, -1, NOW - DAY));
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_EQUAL(put(t, tenant("t1", 2, -1, NOW - DAY)), index);
    CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW));
    struct limit_tenant off = tenant("t1", 9, -1, NOW - DAY);
    off.state = LIMIT_TENANT_SUSPENDED;
    put(t, off);
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_decide(t, index, one_call, 1, NOW, true, &a), STATUS_OK);
    CU_ASSERT_EQUAL(a.reason, LIMIT_SUSPENDED);
    limit_table_close(t);
}

static void thousands_of_keys_and_tenants_are_found_while_the_index_grows(void)
{
    struct limit_table *t = fresh_table(), *reader;
    CU_ASSERT_EQUAL_FATAL(limit_table_open(dir, &reader), STATUS_OK);
    struct limit_key k = {.expires_us = LIMIT_NEVER, .scopes = LIMIT_SCOPE_CALL, .id = "abcdefgh"}, found;
    char id[64];
    uint32_t index;
    for (uint32_t i = 0; i < 20000; i++) {
        if (i < 2000) {
            snprintf(id, sizeof id, "tenant_%u", i);
            CU_ASSERT_EQUAL(put(t, tenant(id, 1, 1, NOW)), i);
        }
        crypto_generichash(k.hash, sizeof k.hash, (unsigned char *)&i, sizeof i, NULL, 0);
        k.tenant = i;
        CU_ASSERT_EQUAL(limit_table_put_key(t, &k), STATUS_OK);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        crypto_generichash(k.hash, sizeof k.hash, (unsigned char *)&i, sizeof i, NULL, 0);
        CU_ASSERT_EQUAL(limit_table_key(reader, k.hash, &found), STATUS_OK);
        CU_ASSERT(found.tenant == i && found.scopes == LIMIT_SCOPE_CALL && strcmp(found.id, "abcdefgh") == 0);
    }
    CU_ASSERT_EQUAL(limit_table_tenant_index(reader, "tenant_1999", 11, &index), STATUS_OK);
    CU_ASSERT_EQUAL(index, 1999);
    CU_ASSERT_EQUAL(limit_table_tenant_index(reader, "tenant_19999", 12, &index), STATUS_NOT_FOUND);
    k.revoked = 1;
    CU_ASSERT_EQUAL(limit_table_put_key(t, &k), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_key(reader, k.hash, &found), STATUS_OK);
    CU_ASSERT_TRUE(found.revoked);
    CU_ASSERT_EQUAL(limit_table_drop_key(t, k.hash), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_key(reader, k.hash, &found), STATUS_NOT_FOUND);
    limit_table_close(reader);
    limit_table_close(t);
}

static void a_count_stops_at_its_end_and_never_turns_negative(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", -1, -1, NOW - DAY));
    const struct limit_ask huge[] = {{.metric = 0, .amount = INT64_MAX / 2 + 1}};
    int64_t used;

    for (int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(take(t, index, huge, 1, NOW));
    CU_ASSERT_EQUAL(limit_table_count(t, index, 0, NOW, &used), STATUS_OK);
    CU_ASSERT_EQUAL(used, INT64_MAX);
    CU_ASSERT_EQUAL(put(t, tenant("t1", 1000, -1, NOW - DAY)), index);
    CU_ASSERT_FALSE(take(t, index, huge, 1, NOW));
    limit_table_close(t);
}

/* Looks the first key and tenant up until the parent says stop; the exit status is how often one was not found, at most 100. */
static int watch_first(_Atomic int *stop, _Atomic uint64_t *looked)
{
    struct limit_table *t;
    struct limit_key found;
    uint32_t zero = 0, index;
    unsigned char hash[LIMIT_HASH_BYTES];
    int missed = 0;

    if (limit_table_open(dir, &t) != STATUS_OK)
        return 101;
    crypto_generichash(hash, sizeof hash, (unsigned char *)&zero, sizeof zero, NULL, 0);
    while (!atomic_load(stop) && missed < 100) {
        missed += limit_table_key(t, hash, &found) != STATUS_OK;
        missed += limit_table_tenant_index(t, "tenant_0", 8, &index) != STATUS_OK;
        atomic_fetch_add(looked, 1);
    }
    limit_table_close(t);
    return missed;
}

static void a_valid_key_is_known_throughout_while_the_index_grows(void)
{
    struct {
        _Atomic int stop;
        _Atomic uint64_t looked;
    } *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct limit_table *t = fresh_table();
    struct limit_key k = {.expires_us = LIMIT_NEVER, .scopes = LIMIT_SCOPE_CALL, .id = "abcdefgh"};
    char id[64];
    int status = -1;

    CU_ASSERT_NOT_EQUAL_FATAL(shared, MAP_FAILED);
    put(t, tenant("tenant_0", 1, 1, NOW));
    for (uint32_t i = 0; i < 90000; i++) {
        if (i && i < 12000) { /* tenants make the index grow, too */
            snprintf(id, sizeof id, "tenant_%u", i);
            put(t, tenant(id, 1, 1, NOW));
        }
        crypto_generichash(k.hash, sizeof k.hash, (unsigned char *)&i, sizeof i, NULL, 0);
        CU_ASSERT_EQUAL(limit_table_put_key(t, &k), STATUS_OK);
        if (i == 0 && fork() == 0)
            _exit(watch_first(&shared->stop, &shared->looked));
        while (i == 0 && atomic_load(&shared->looked) < 100)
            usleep(1000);
    }
    atomic_store(&shared->stop, 1);
    wait(&status);
    CU_ASSERT_TRUE(atomic_load(&shared->looked) > 1000);
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    munmap(shared, 4096);
    limit_table_close(t);
}

/* A publisher that is killed behind the renaming has told nobody: the next one does, before it writes there. */
static void an_index_that_was_shown_but_not_announced_is_announced_by_the_next_publisher(void)
{
    struct limit_table *t = fresh_table(), *reader, *next;
    struct limit_key k = {.expires_us = LIMIT_NEVER, .scopes = LIMIT_SCOPE_CALL, .id = "abcdefgh"}, found;
    unsigned char first[LIMIT_HASH_BYTES];

    for (uint32_t i = 0; i < 3000; i++) {
        crypto_generichash(k.hash, sizeof k.hash, (unsigned char *)&i, sizeof i, NULL, 0);
        if (i == 0)
            memcpy(first, k.hash, sizeof first);
        if (i == 1)
            CU_ASSERT_EQUAL_FATAL(limit_table_open(dir, &reader), STATUS_OK);
        CU_ASSERT_EQUAL(limit_table_put_key(t, &k), STATUS_OK);
    }
    CU_ASSERT_EQUAL(t->index_generation, 2);
    atomic_store(&t->header->index_generation, 1);
    limit_table_close(t);
    CU_ASSERT_EQUAL_FATAL(limit_table_open(dir, &next), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_drop_key(next, first), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_key(reader, first, &found), STATUS_NOT_FOUND);
    limit_table_close(reader);
    limit_table_close(next);
}

/* What was taken by killed processes: never more than is left, no mark or lock stays, no entry is torn. */
static void killed_takers_and_publishers_leave_nothing_locked_or_torn(void)
{
    struct limit_table *t = fresh_table();
    uint32_t index = put(t, tenant("t1", 1000000000, -1, NOW - DAY));
    uint64_t *passed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < kills; round++) {
        pid_t taker = fork();
        if (taker == 0) {
            struct limit_table *mine;
            if (limit_table_open(dir, &mine) != STATUS_OK || limit_table_join(mine) != STATUS_OK)
                _exit(1);
            for (;;) {
                struct limit_answer a;
                if (limit_table_decide(mine, index, one_call, 1, NOW, true, &a) != STATUS_OK ||
                    a.reason != LIMIT_ADMITTED)
                    _exit(1);
                __atomic_fetch_add(passed, 1, __ATOMIC_SEQ_CST);
                limit_table_done(mine);
            }
        }
        pid_t publisher = fork();
        if (publisher == 0)
            for (int64_t limit = 1000000000;; limit ^= 1)
                put(t, tenant("t1", limit, -1, NOW - DAY));
        usleep((useconds_t)(500 + round * 37 % 4000));
        kill(taker, SIGKILL);
        kill(publisher, SIGKILL);
        int status;
        waitpid(taker, &status, 0);
        CU_ASSERT(WIFSIGNALED(status));
        waitpid(publisher, &status, 0);
        struct limit_tenant copy;
        CU_ASSERT_EQUAL(limit_table_tenant(t, index, &copy), STATUS_OK);
        CU_ASSERT_EQUAL(limit_table_idle(t, index), STATUS_OK);
    }
    int64_t counted = used(t, index, 0, NOW), more = counted - (int64_t)*passed;
    CU_ASSERT(more >= 0 && more <= kills);
    CU_ASSERT_EQUAL(limit_table_repair(t, index, 0, NOW, counted * EVENT_MILLION, (int64_t)*passed * EVENT_MILLION),
                    STATUS_OK);
    CU_ASSERT_EQUAL(used(t, index, 0, NOW), (int64_t)*passed);
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    munmap(passed, 4096);
    limit_table_close(t);
}

static void a_taker_that_has_not_appended_yet_holds_off_the_mending(void)
{
    struct limit_table *t = fresh_table(), *other;
    uint32_t index = put(t, tenant("t1", 10, -1, NOW - DAY));
    struct limit_answer a;
    CU_ASSERT_EQUAL_FATAL(limit_table_open(dir, &other), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_join(other), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_decide(other, index, one_call, 1, NOW, true, &a), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_idle(t, index), STATUS_CONFLICT);
    CU_ASSERT_EQUAL(limit_table_repair(t, index, 0, NOW, EVENT_MILLION, 0), STATUS_CONFLICT);
    limit_table_done(other);
    CU_ASSERT_EQUAL(limit_table_repair(t, index, 0, NOW, EVENT_MILLION, 0), STATUS_OK);
    limit_table_close(other);
    limit_table_close(t);
}

static void a_truncated_table_ends_in_an_error_and_is_made_anew(void)
{
    struct limit_table *t = fresh_table(), *reader, *again;
    uint32_t index = put(t, tenant("t1", 10, -1, NOW - DAY));
    char path[300];
    bool fresh;
    struct limit_answer a;
    snprintf(path, sizeof path, "%s/" TABLE_FILE, dir);
    CU_ASSERT_EQUAL_FATAL(limit_table_open(dir, &reader), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_join(reader), STATUS_OK);
    CU_ASSERT_EQUAL(truncate(path, 0), 0);
    CU_ASSERT_EQUAL(limit_table_decide(reader, index, one_call, 1, NOW, true, &a), STATUS_DAMAGED);
    CU_ASSERT_TRUE(limit_table_stale(reader));
    limit_table_observe(reader, LIMIT_RESULT_ADMITTED, 5);
    CU_ASSERT_EQUAL_FATAL(limit_table_create(dir, node, &again, &fresh), STATUS_OK);
    CU_ASSERT_TRUE(fresh);
    limit_table_close(again);
    limit_table_close(reader);
    limit_table_close(t);
}

static void random_bytes_never_crash_a_reader(void)
{
    struct limit_table *t = fresh_table();
    char path[300];
    struct limit_key k, found;
    memset(&k, 7, sizeof k);
    k.expires_us = LIMIT_NEVER;
    uint32_t index = put(t, tenant("t1", 10, -1, NOW - DAY)), other;
    CU_ASSERT_EQUAL(limit_table_put_key(t, &k), STATUS_OK);
    limit_table_close(t);
    snprintf(path, sizeof path, "%s/" TABLE_FILE, dir);
    srand(1);
    for (int round = 0; round < 200; round++) {
        struct limit_answer a;
        struct stat st;
        int fd = open(path, O_RDWR);
        fstat(fd, &st);
        for (int i = 0; i < 20; i++) {
            int byte = rand();
            CU_ASSERT_EQUAL(pwrite(fd, &byte, sizeof byte, rand() % (st.st_size - 4)), (ssize_t)sizeof byte);
        }
        close(fd);
        if (limit_table_open(dir, &t) == STATUS_OK) {
            enum status s = limit_table_decide(t, index, one_call, 1, NOW, true, &a);
            CU_ASSERT(s < STATUS_COUNT);
            s = limit_table_key(t, k.hash, &found);
            CU_ASSERT(s < STATUS_COUNT);
            s = limit_table_tenant_index(t, "t1", 2, &other);
            CU_ASSERT(s < STATUS_COUNT);
            limit_table_close(t);
        }
        bool fresh;
        CU_ASSERT_EQUAL_FATAL(limit_table_create(dir, node, &t, &fresh), STATUS_OK);
        if (fresh) {
            struct limit_catalogue c = catalogue();
            CU_ASSERT_EQUAL(limit_table_put_catalogue(t, &c), STATUS_OK);
            index = put(t, tenant("t1", 10, -1, NOW - DAY));
            CU_ASSERT_EQUAL(limit_table_ready(t), STATUS_OK);
        }
        limit_table_close(t);
    }
}

static void a_lease_is_spent_to_the_last_unit_by_all_writers_together(void)
{
    struct limit_table *t = fresh_table();
    struct limit_tenant who = tenant("t1", 1000, -1, NOW - DAY);
    who.limits[0].lease_percent = 10;
    uint32_t index = put(t, who);
    struct limit_want wanted[4];
    struct limit_answer a;
    size_t n = 0;
    int64_t start = NOW, left = -1;
    int pipes[2];
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    for (int i = 0; i < 900; i++)
        CU_ASSERT_TRUE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_EQUAL(limit_table_wanted(t, wanted, 4, &n), STATUS_OK);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW));
    CU_ASSERT_EQUAL(limit_table_wanted(t, wanted, 4, &n), STATUS_OK);
    CU_ASSERT_TRUE(n == 1 && wanted[0].tenant == index && wanted[0].slot == 0);
    CU_ASSERT_EQUAL(limit_table_lease_add(t, index, 0, start - DAY, 5 * EVENT_MILLION), STATUS_OK);
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW)); /* another day's */
    CU_ASSERT_EQUAL(limit_table_lease_add(t, index, 0, start, 40 * EVENT_MILLION), STATUS_OK);

    CU_ASSERT_EQUAL(limit_table_decide(t, index, one_call, 1, NOW, true, &a), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_lease_left(t, index, 0, start, &left), STATUS_OK);
    CU_ASSERT_EQUAL(left, 39 * EVENT_MILLION);
    CU_ASSERT_EQUAL(limit_table_undo(t, index, one_call, 1, &a), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_lease_left(t, index, 0, start, &left), STATUS_OK);
    CU_ASSERT_EQUAL(left, 40 * EVENT_MILLION);

    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    for (int p = 0; p < 4; p++)
        if (fork() == 0) {
            struct limit_table *mine;
            int passed = 0;
            if (limit_table_open(dir, &mine) != STATUS_OK || limit_table_join(mine) != STATUS_OK)
                _exit(1);
            for (int i = 0; i < 200; i++)
                passed += take(mine, index, one_call, 1, NOW);
            _exit(write(pipes[1], &passed, sizeof passed) != sizeof passed);
        }
    int sum = 0, passed, status;
    for (int p = 0; p < 4; p++) {
        CU_ASSERT_EQUAL(read(pipes[0], &passed, sizeof passed), (ssize_t)sizeof passed);
        sum += passed;
        wait(&status);
    }
    CU_ASSERT_EQUAL(sum, 40);
    CU_ASSERT_EQUAL(used(t, index, 0, NOW), 940);

    CU_ASSERT_EQUAL(limit_table_lease_add(t, index, 0, start, 7 * EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_lease_withdraw(t, index, 0, start, &left), STATUS_OK);
    CU_ASSERT_EQUAL(left, 7 * EVENT_MILLION);
    CU_ASSERT_FALSE(take(t, index, one_call, 1, NOW));
    limit_table_close(t);
}

static void a_table_of_another_node_or_one_never_filled_is_not_taken_over(void)
{
    struct limit_table *t = fresh_table();
    bool fresh;
    limit_table_close(t);
    CU_ASSERT_EQUAL(limit_table_create(dir, node, &t, &fresh), STATUS_OK);
    CU_ASSERT_FALSE(fresh);
    struct limit_table *second;
    CU_ASSERT_EQUAL(limit_table_create(dir, (const unsigned char *)"another node....", &second, &fresh), STATUS_OK);
    CU_ASSERT_TRUE(fresh);
    CU_ASSERT_FALSE(limit_table_stale(t)); /* nobody sees the new one yet */
    limit_table_close(second);
    CU_ASSERT_EQUAL(limit_table_create(dir, (const unsigned char *)"another node....", &second, &fresh), STATUS_OK);
    CU_ASSERT_TRUE(fresh); /* it was never said to be ready */
    CU_ASSERT_EQUAL(limit_table_ready(second), STATUS_OK);
    CU_ASSERT_TRUE(limit_table_stale(t));
    limit_table_close(second);
    limit_table_close(t);
}

/* ---- many limits ---- */

#define MANY_METRICS LIMIT_TABLE_METRICS

/* Each metric has a limit of a day and one of a period. */
static struct limit_catalogue large_catalogue(void)
{
    struct limit_catalogue c = {.n_metrics = MANY_METRICS, .n_limits = LIMIT_TABLE_LIMITS};
    for (uint32_t i = 0; i < LIMIT_TABLE_LIMITS; i++) {
        snprintf(c.metrics[i / 2].name, sizeof c.metrics[i / 2].name, "metric_%u", i / 2);
        snprintf(c.limits[i].key, sizeof c.limits[i].key, "limit_%u", i);
        c.limits[i].metric = (uint8_t)(i / 2);
        c.limits[i].window = i % 2 ? LIMIT_WINDOW_PERIOD : LIMIT_WINDOW_DAY;
    }
    return c;
}

static struct limit_tenant with_limits(const char *id, uint32_t n)
{
    struct limit_tenant t = tenant(id, -1, -1, NOW - DAY);
    t.held = 0;
    for (uint32_t i = 0; i < n; i++)
        t.limits[i].max = (int64_t)(i + 1) * EVENT_MILLION;
    return t;
}

static struct limit_table *large_table(void)
{
    struct limit_table *t = NULL;
    struct limit_catalogue c = large_catalogue();
    CU_ASSERT_EQUAL_FATAL(limit_table_make(dir, node, &t), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &c), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(limit_table_join(t), STATUS_OK);
    return t;
}

static void a_tenant_has_room_for_every_limit_of_the_largest_catalogue(void)
{
    struct limit_table *t = large_table();
    uint32_t index = put(t, with_limits("all", LIMIT_TABLE_LIMITS));
    for (uint8_t m = 0; m < MANY_METRICS; m++) {
        const struct limit_ask ask[] = {{m, EVENT_MILLION}};
        int passed = 0;
        while (take(t, index, ask, 1, NOW))
            passed++;
        CU_ASSERT_EQUAL(passed, 2 * m + 1); /* the day's limit is the smaller one */
        CU_ASSERT_EQUAL(used(t, index, (uint8_t)(2 * m + 1), NOW), passed);
    }
    limit_table_close(t);
}

static void a_tenant_of_sixteen_limits_takes_four_kilobytes(void)
{
    struct limit_table *t = large_table();
    char id[32];
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "t%u", i);
        CU_ASSERT_EQUAL(put(t, with_limits(id, 16)), i); /* one place each */
    }
    CU_ASSERT_EQUAL(limit_table_tenants(t), 100);
    CU_ASSERT(sizeof(struct table_tenant) <= 4096);
    put(t, with_limits("more", 17));
    CU_ASSERT_EQUAL(limit_table_tenants(t), 102); /* its metric's other limit, too */
    put(t, with_limits("all", LIMIT_TABLE_LIMITS));
    CU_ASSERT_EQUAL(limit_table_tenants(t), 109);
    limit_table_close(t);
}

/* What is not held is not counted, and says so; the counts of what is held stay when more is. */
static void a_metric_is_counted_from_when_it_is_held(void)
{
    struct limit_table *t = large_table();
    uint32_t index = put(t, with_limits("t1", 0));
    const struct limit_ask ask[] = {{3, EVENT_MILLION}};
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_decide(t, index, ask, 1, NOW, true, &a), STATUS_OK);
    limit_table_done(t);
    CU_ASSERT_EQUAL(a.reason, LIMIT_ADMITTED);
    CU_ASSERT_EQUAL(limit_table_flags(t, &a, 3), 0);
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, NOW, EVENT_MILLION), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(limit_table_hold(t, index, 3), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, NOW, EVENT_MILLION), STATUS_OK);
    for (uint8_t m = 0; m < MANY_METRICS; m++)
        CU_ASSERT_EQUAL(limit_table_hold(t, index, m), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_decide(t, index, ask, 1, NOW, true, &a), STATUS_OK);
    limit_table_done(t);
    CU_ASSERT_TRUE(limit_table_counted(t, limit_table_flags(t, &a, 3)));
    CU_ASSERT_FALSE(limit_table_counted(t, EVENT_COUNTED));
    CU_ASSERT_EQUAL(used(t, index, 6, NOW), 2);
    CU_ASSERT_EQUAL(used(t, index, 7, NOW), 2);
    limit_table_close(t);
}

static void another_limit_of_a_metric_that_is_there_takes_another_table(void)
{
    struct limit_table *t = fresh_table();
    struct limit_catalogue c = catalogue();
    strcpy(c.limits[c.n_limits].key, "api_calls_per_period");
    c.limits[c.n_limits++].window = LIMIT_WINDOW_PERIOD;
    CU_ASSERT_EQUAL(limit_table_put_catalogue(t, &c), STATUS_CONFLICT);
    limit_table_close(t);
}

/* ---- while everything grows ---- */

struct watched {
    _Atomic int stop;
    _Atomic uint64_t looked;
};

/*
 * A gate that takes from one tenant, whose limits grow, and finds another table when one is shown. The exit status says what was
 * wrong; 0: nothing was.
 */
static int take_throughout(struct watched *w, uint32_t *counted)
{
    struct limit_table *t = NULL;
    const struct limit_ask asks[] = {{0, EVENT_MILLION}};
    struct limit_answer a;
    uint32_t index;

    while (!atomic_load(&w->stop)) {
        if (t && limit_table_stale(t)) {
            limit_table_close(t);
            t = NULL;
        }
        if (!t && (limit_table_open(dir, &t) != STATUS_OK || limit_table_join(t) != STATUS_OK))
            return 1;
        if (limit_table_tenant_index(t, "grows", 5, &index) != STATUS_OK) {
            if (limit_table_is_ready(t))
                return 2;
            continue;
        }
        enum status s = limit_table_decide(t, index, asks, 1, NOW, true, &a);
        if (s == STATUS_UNAVAILABLE && limit_table_stale(t))
            continue;
        if (s != STATUS_OK || a.reason != LIMIT_ADMITTED)
            return 3;
        if (!limit_table_counted(t, limit_table_flags(t, &a, 0)))
            return 4;
        counted[limit_table_flags(t, &a, 0) >> EVENT_TABLE_SHIFT]++;
        limit_table_done(t);
        atomic_fetch_add(&w->looked, 1);
    }
    limit_table_close(t);
    return 0;
}

static void a_tenant_takes_as_many_places_as_its_limits_need_at_most(void)
{
    static const struct {
        uint32_t limits, places;
    } cases[] = {{0, 1}, {16, 1}, {17, 2}, {37, 2}, {38, 3}, {LIMIT_TABLE_LIMITS, 7}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CU_ASSERT_EQUAL(limit_table_places(cases[i].limits), cases[i].places);
}

/* New tenants, places that are added, metrics that are held, a larger catalogue, tables that take each other's place. */
static void a_gate_that_takes_throughout_sees_nothing_half_done_and_loses_no_count(void)
{
    enum { TABLES = 8 };
    struct {
        struct watched watched;
        uint32_t counted[EVENT_TABLE_MOST + 1];
    } *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct limit_table *t = NULL;
    struct limit_catalogue all = large_catalogue(), c = all;
    char id[32];
    int status = -1;

    CU_ASSERT_NOT_EQUAL_FATAL(shared, MAP_FAILED);
    for (int table = 0; table < TABLES; table++) {
        uint64_t looked = atomic_load(&shared->watched.looked);
        struct limit_table *before = t;
        uint32_t index;

        CU_ASSERT_EQUAL_FATAL(limit_table_make(dir, node, &t), STATUS_OK);
        shared->counted[t->mark] = 0; /* a mark is used again when no file of its table is left */
        c = all;
        c.n_metrics = 1;
        c.n_limits = 2;
        CU_ASSERT_EQUAL(limit_table_put_catalogue(t, &c), STATUS_OK);
        struct limit_tenant who = with_limits("grows", 0);
        who.limits[0].max = 1000000000 * EVENT_MILLION;
        index = put(t, who);
        CU_ASSERT_EQUAL(limit_table_ready(t), STATUS_OK);
        if (before) {
            /* Nobody takes from it any more; who has just taken still has to note it. */
            for (int waited = 0; waited < 5000 && used(before, index, 0, NOW) != shared->counted[before->mark];
                 waited++)
                usleep(1000);
            CU_ASSERT_EQUAL(used(before, index, 0, NOW), shared->counted[before->mark]);
            limit_table_close(before);
        }
        if (table == 0 && fork() == 0)
            _exit(take_throughout(&shared->watched, shared->counted));
        for (uint32_t n = 2; n <= LIMIT_TABLE_LIMITS; n += 2) {
            c = all;
            c.n_limits = n;
            c.n_metrics = n / 2;
            CU_ASSERT_EQUAL(limit_table_put_catalogue(t, &c), STATUS_OK);
            CU_ASSERT_EQUAL(limit_table_hold(t, index, (uint8_t)(n / 2 - 1)), STATUS_OK);
            snprintf(id, sizeof id, "t%d_%u", table, n);
            put(t, with_limits(id, n));
            put(t, who);
        }
        for (int i = 0; i < 2000 && atomic_load(&shared->watched.looked) < looked + 1000; i++)
            usleep(1000);
        CU_ASSERT(atomic_load(&shared->watched.looked) >= looked + 1000);
    }
    atomic_store(&shared->watched.stop, 1);
    wait(&status);
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    CU_ASSERT_EQUAL(used(t, 0, 0, NOW), shared->counted[t->mark]);
    munmap(shared, 4096);
    limit_table_close(t);
}

static void tables_of_other_versions_stay_while_a_gate_has_them_open(void)
{
    struct limit_table *t = fresh_table(), *again;
    char path[300], index[300];
    bool fresh;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT + 5, .l_len = 1};
    snprintf(path, sizeof path, "%s/limits.99", dir);
    snprintf(index, sizeof index, "%s/limits.99.0123456789abcdef", dir);
    int gate = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), other = open(index, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    close(other);
    CU_ASSERT_EQUAL(fcntl(gate, F_OFD_SETLK, &lock), 0);
    CU_ASSERT_EQUAL(limit_table_create(dir, node, &again, &fresh), STATUS_OK);
    CU_ASSERT_FALSE(fresh);
    limit_table_close(again);
    CU_ASSERT(access(path, F_OK) == 0 && access(index, F_OK) == 0);
    close(gate);
    CU_ASSERT_EQUAL(limit_table_create(dir, node, &again, &fresh), STATUS_OK);
    limit_table_close(again);
    CU_ASSERT(access(path, F_OK) != 0 && access(index, F_OK) != 0);
    CU_ASSERT_FALSE(limit_table_stale(t));
    limit_table_close(t);
}

static int set_up(void)
{
    return sodium_init() >= 0 && mkdtemp(dir) ? 0 : 1;
}

static int tear_down(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* The three windows that hours, weeks and a limit of what is observed need; times are now's, since old hours are left out. */
static struct limit_table *table_of_windows(uint8_t aggregation, uint8_t window)
{
    struct limit_table *t = fresh_table();
    struct limit_catalogue c = catalogue();
    strcpy(c.metrics[3].name, "job");
    c.metrics[3].aggregation = aggregation;
    c.metrics[3].kind = limit_is_observed(aggregation) ? LIMIT_KIND_OBSERVED : LIMIT_KIND_COUNTER;
    strcpy(c.limits[4].key, "jobs");
    c.limits[4].metric = 3;
    c.limits[4].window = window;
    c.n_metrics = 4;
    c.n_limits = 5;
    CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &c), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_join(t), STATUS_OK);
    return t;
}

static struct limit_tenant tenant_now(int64_t jobs, int64_t today_us)
{
    struct limit_tenant who = tenant("t1", -1, -1, today_us - DAY);
    who.limits[4].max = jobs * EVENT_MILLION;
    for (int i = 0; i < LIMIT_WEEKS; i++)
        who.weeks[i] = (struct limit_span){today_us + (i - 1) * 7 * DAY, today_us + i * 7 * DAY, 3600, 0};
    return who;
}

static const struct limit_ask one_job[] = {{.metric = 3, .amount = EVENT_MILLION}};

static void an_hours_limit_begins_anew_with_each_hour_and_needs_nobody_for_it(void)
{
    struct limit_table *t = table_of_windows(LIMIT_SUM, LIMIT_WINDOW_HOUR);
    int64_t today = clock_wall_us() / DAY * DAY, used = -1;
    uint32_t index = put(t, tenant_now(3, today));
    for (int64_t hour = 0; hour < 5 * 24; hour++) { /* longer than a mark is unambiguous */
        int64_t at = today + hour * DAY / 24;
        CU_ASSERT_EQUAL(limit_table_forget_hours(t, index, at), STATUS_OK);
        for (int i = 0; i < 5; i++)
            CU_ASSERT_EQUAL(take(t, index, one_job, 1, at + (i % 2) * (DAY / 24 - 1)), i < 3);
        CU_ASSERT_EQUAL(limit_table_count(t, index, 4, at, &used), STATUS_OK);
        CU_ASSERT_EQUAL(used, 3 * EVENT_MILLION);
        CU_ASSERT_EQUAL(limit_table_count(t, index, 4, at + DAY / 24, &used), STATUS_OK);
        CU_ASSERT_EQUAL(used, 0);
    }
    limit_table_close(t);
}

static void the_last_hour_of_a_day_ends_with_it_where_a_clock_changes_by_half_an_hour(void)
{
    struct limit_table *t = table_of_windows(LIMIT_SUM, LIMIT_WINDOW_HOUR);
    int64_t today = clock_wall_us() / DAY * DAY, half = DAY / 48;
    struct limit_tenant who = tenant_now(1, today);
    struct limit_span hour;
    for (int forth = 0; forth < 2; forth++) { /* a day of 23.5 or of 24.5 hours, and the days after it */
        int64_t longer = forth ? -half : half;
        who = tenant_now(1, today);
        who.days[1].end_us += longer;
        for (int i = 2; i < LIMIT_DAYS; i++)
            who.days[i] = (struct limit_span){who.days[i - 1].end_us, who.days[i - 1].end_us + DAY, 0, 0};
        uint32_t index = put(t, who);
        int64_t end = who.days[1].end_us;
        CU_ASSERT_TRUE_FATAL(limit_table_window(&who, LIMIT_WINDOW_HOUR, end - 1, &hour));
        CU_ASSERT_EQUAL(hour.end_us, end);
        CU_ASSERT_EQUAL(hour.start_us, end - half);
        for (int64_t at = end - half - DAY / 24; at < end + DAY / 24; at += at == end - half ? half : DAY / 24) {
            CU_ASSERT_TRUE(take(t, index, one_job, 1, at));
            CU_ASSERT_FALSE(take(t, index, one_job, 1, at + half - 1));
        }
        CU_ASSERT_EQUAL(limit_table_drop_tenant(t, index), STATUS_OK);
        today += 3 * DAY;
    }
    limit_table_close(t);
}

static void an_hour_that_is_past_takes_nothing_from_the_one_that_has_its_place(void)
{
    struct limit_table *t = table_of_windows(LIMIT_SUM, LIMIT_WINDOW_HOUR);
    int64_t now = clock_wall_us(), used = -1;
    uint32_t index = put(t, tenant_now(100, now / DAY * DAY));
    CU_ASSERT_TRUE(take(t, index, one_job, 1, now));
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, now - 4 * DAY / 24, 5 * EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, now, 2 * EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, now, -EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_add(t, index, 3, LIMIT_ALL_WINDOWS, now - DAY / 24, -EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_count(t, index, 4, now, &used), STATUS_OK);
    CU_ASSERT_EQUAL(used, 2 * EVENT_MILLION);
    CU_ASSERT_EQUAL(limit_table_repair(t, index, 4, now, used + 1, 0), STATUS_CONFLICT);
    CU_ASSERT_EQUAL(limit_table_repair(t, index, 4, now, used, 7 * EVENT_MILLION), STATUS_OK);
    CU_ASSERT_EQUAL(limit_table_count(t, index, 4, now, &used), STATUS_OK);
    CU_ASSERT_EQUAL(used, 7 * EVENT_MILLION);
    limit_table_close(t);
}

static void a_weeks_limit_is_of_seven_days(void)
{
    struct limit_table *t = table_of_windows(LIMIT_SUM, LIMIT_WINDOW_WEEK);
    int64_t today = clock_wall_us() / DAY * DAY;
    uint32_t index = put(t, tenant_now(2, today));
    CU_ASSERT_TRUE(take(t, index, one_job, 1, today));
    CU_ASSERT_TRUE(take(t, index, one_job, 1, today + 6 * DAY));
    CU_ASSERT_FALSE(take(t, index, one_job, 1, today + 3 * DAY));
    CU_ASSERT_TRUE(take(t, index, one_job, 1, today + 7 * DAY));
    limit_table_close(t);
}

static void what_is_observed_is_read_by_a_decision_and_changed_by_the_collector_alone(void)
{
    for (int i = 0; i < 2; i++) {
        bool max = i == 0;
        struct limit_table *t = table_of_windows(max ? LIMIT_MAX : LIMIT_UNIQUE, LIMIT_WINDOW_DAY);
        int64_t now = clock_wall_us(), today = now / DAY * DAY, used = -1;
        struct limit_ask large[] = {{.metric = 3, .amount = 4 * EVENT_MILLION}};
        uint32_t index = put(t, tenant_now(3, today));
        for (int k = 0; k < 10; k++)
            CU_ASSERT_TRUE(take(t, index, one_job, 1, now));
        CU_ASSERT_EQUAL(take(t, index, large, 1, now), !max); /* a value beyond the limit */
        CU_ASSERT_EQUAL(limit_table_observe_count(t, index, 3, LIMIT_WINDOW_DAY, today, 3 * EVENT_MILLION), STATUS_OK);
        CU_ASSERT_TRUE(take(t, index, one_job, 1, now)); /* at the limit: it may be one that is counted already */
        CU_ASSERT_EQUAL(limit_table_observe_count(t, index, 3, LIMIT_WINDOW_DAY, today, 4 * EVENT_MILLION), STATUS_OK);
        CU_ASSERT_FALSE(take(t, index, one_job, 1, now));
        CU_ASSERT_EQUAL(limit_table_count(t, index, 4, now, &used), STATUS_OK);
        CU_ASSERT_EQUAL(used, 4 * EVENT_MILLION);
        CU_ASSERT_TRUE(take(t, index, one_job, 1, now + DAY));
        limit_table_close(t);
    }
}

static uint64_t refused_in(struct limit_table *t, bool all, int64_t hour_us)
{
    struct limit_refusal list[LIMIT_REFUSALS_ROOM];
    uint64_t sum = 0;
    uint32_t next = 0;
    size_t n;
    do {
        CU_ASSERT_EQUAL_FATAL(limit_table_refusals(t, all, &next, list, LIMIT_REFUSALS_ROOM, &n), STATUS_OK);
        for (size_t i = 0; i < n; i++)
            sum += list[i].slot == 4 && list[i].hour_us == hour_us ? list[i].refused : 0;
    } while (next);
    return sum;
}

static void refusals_are_counted_by_limit_and_hour_and_told_once(void)
{
    struct limit_table *t = table_of_windows(LIMIT_SUM, LIMIT_WINDOW_DAY);
    int64_t today = clock_wall_us() / DAY * DAY, hour = DAY / 24;
    uint32_t index = 0;
    for (int i = 0; i < 200; i++) {
        struct limit_tenant who = tenant_now(0, today);
        snprintf(who.id, sizeof who.id, "t%d", i);
        index = put(t, who);
    }
    for (int i = 0; i < 7; i++)
        CU_ASSERT_FALSE(take(t, index, one_job, 1, today + i));
    CU_ASSERT_FALSE(take(t, index - 70, one_job, 1, today + hour - 1));
    CU_ASSERT_EQUAL(refused_in(t, false, today), 8);
    CU_ASSERT_EQUAL(refused_in(t, false, today), 0); /* nothing is new */
    CU_ASSERT_EQUAL(refused_in(t, true, today), 8);
    CU_ASSERT_FALSE(take(t, index, one_job, 1, today + hour));
    CU_ASSERT_EQUAL(refused_in(t, true, today + hour), 1);
    CU_ASSERT_FALSE(take(t, index, one_job, 1, today)); /* a clock set back: the hour goes on */
    CU_ASSERT_EQUAL(refused_in(t, false, today), 8);
    CU_ASSERT_FALSE(take(t, index, one_job, 1, today + 5 * hour)); /* takes the place of the older one */
    CU_ASSERT_EQUAL(refused_in(t, true, today + 5 * hour), 1);
    CU_ASSERT_EQUAL(refused_in(t, true, today + hour), 1);
    CU_ASSERT_EQUAL(refused_in(t, true, today), 1); /* the other tenant's */
    struct limit_answer a;
    CU_ASSERT_EQUAL(limit_table_decide(t, index, one_job, 1, today + 5 * hour, false, &a), STATUS_OK);
    CU_ASSERT_EQUAL(refused_in(t, true, today + 5 * hour), 1); /* who only asks is not refused */
    limit_table_close(t);
}

static void more_metrics_than_there_is_room_for_are_not_counted_without_the_spool(void)
{
    struct limit_table *t = fresh_table();
    struct limit_catalogue c = catalogue();
    int64_t total = 0;
    for (; c.n_metrics < 40; c.n_metrics++)
        snprintf(c.metrics[c.n_metrics].name, sizeof c.metrics[0].name, "m%u", c.n_metrics);
    CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &c), STATUS_OK);
    uint32_t index = put(t, tenant("t1", 1, -1, NOW));
    for (uint8_t m = 0; m < 40; m++)
        for (int i = 0; i < 2; i++)
            CU_ASSERT_EQUAL(limit_table_degraded_add(t, index, m, (m + 1) * EVENT_MILLION),
                            m < TABLE_DEGRADED ? STATUS_OK : STATUS_LIMIT);
    for (uint8_t m = 0; m < 40; m++) {
        CU_ASSERT_EQUAL(limit_table_degraded(t, index, m, &total), STATUS_OK);
        CU_ASSERT_EQUAL(total, m < TABLE_DEGRADED ? 2 * (m + 1) * EVENT_MILLION : 0);
    }
    limit_table_close(t);
}

int main(int argc, char *argv[])
{
    if (argc > 1)
        kills = atoi(argv[1]); /* the long form */
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("limit table", set_up, tear_down);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(a_posted_level_counts_by_when_it_was_recorded);
    ADD(a_level_of_the_database_leaves_newer_posts_alone);
    ADD(changes_of_many_processes_add_up);
    ADD(with_n_left_n_pass_across_processes);
    ADD(several_limits_are_taken_all_or_none);
    ADD(an_undone_take_costs_nothing);
    ADD(the_turn_of_a_day_needs_nobody);
    ADD(a_changed_limit_acts_at_once_and_keeps_the_count);
    ADD(thousands_of_keys_and_tenants_are_found_while_the_index_grows);
    ADD(a_count_stops_at_its_end_and_never_turns_negative);
    ADD(a_valid_key_is_known_throughout_while_the_index_grows);
    ADD(an_index_that_was_shown_but_not_announced_is_announced_by_the_next_publisher);
    ADD(killed_takers_and_publishers_leave_nothing_locked_or_torn);
    ADD(a_taker_that_has_not_appended_yet_holds_off_the_mending);
    ADD(a_truncated_table_ends_in_an_error_and_is_made_anew);
    ADD(random_bytes_never_crash_a_reader);
    ADD(a_lease_is_spent_to_the_last_unit_by_all_writers_together);
    ADD(a_tenant_has_room_for_every_limit_of_the_largest_catalogue);
    ADD(a_tenant_of_sixteen_limits_takes_four_kilobytes);
    ADD(a_metric_is_counted_from_when_it_is_held);
    ADD(another_limit_of_a_metric_that_is_there_takes_another_table);
    ADD(a_tenant_takes_as_many_places_as_its_limits_need_at_most);
    ADD(a_gate_that_takes_throughout_sees_nothing_half_done_and_loses_no_count);
    ADD(tables_of_other_versions_stay_while_a_gate_has_them_open);
    ADD(a_table_of_another_node_or_one_never_filled_is_not_taken_over);
    ADD(an_hours_limit_begins_anew_with_each_hour_and_needs_nobody_for_it);
    ADD(the_last_hour_of_a_day_ends_with_it_where_a_clock_changes_by_half_an_hour);
    ADD(an_hour_that_is_past_takes_nothing_from_the_one_that_has_its_place);
    ADD(a_weeks_limit_is_of_seven_days);
    ADD(what_is_observed_is_read_by_a_decision_and_changed_by_the_collector_alone);
    ADD(refusals_are_counted_by_limit_and_hour_and_told_once);
    ADD(more_metrics_than_there_is_room_for_are_not_counted_without_the_spool);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
