/*
 * damage_table.c: the limit table damaged at random, read and made anew: damage_table [RUNS] [SEED], under ASan and UBSan.
 *
 * Each run makes a table and its index of tenants and keys, damages one or both (cut off, flipped bits, swapped blocks,
 * a stale tail of another table, zeros, noise, an old version, gone) and uses them as a gate does, then as the collector.
 * Right when nothing crashes or hangs, each key and tenant that is found is the one that was put, the rest is reported as
 * damaged or not found, and the table that the collector makes after that is complete.
 */
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <sys/stat.h>

#include <sodium.h>

#include "lib/meter/limit_table/limit_table.h"
#include "tests/fault/damage.h"

#define NOW INT64_C(1800000000000000)
#define DAY INT64_C(86400000000)
#define TENANTS_MOST 40
#define KEYS_MOST 60
#define FILE_MOST ((size_t)4 << 20)
#define PAGE ((size_t)4096)

static char dir[64];
static const unsigned char node[16] = "damaged-table-01";

static struct limit_tenant tenants[TENANTS_MOST];
static struct limit_key keys[KEYS_MOST];
static uint32_t n_tenants, n_keys;

struct bytes {
    unsigned char *at;
    size_t length;
};
static struct bytes stale[2]; /* of another table, and of its index */

/* The table's file, or its index, whose name has the table's number. */
static const char *path_of(int which)
{
    static char path[PATH_MAX];
    glob_t found;
    char pattern[128];
    snprintf(pattern, sizeof pattern, "%s/limits.[0-9]%s", dir, which ? ".????????????????" : "");
    path[0] = '\0';
    if (glob(pattern, 0, NULL, &found) != 0)
        return path;
    snprintf(path, sizeof path, "%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static void imagine(void)
{
    n_tenants = 1 + (uint32_t)number_below(TENANTS_MOST);
    n_keys = 1 + (uint32_t)number_below(KEYS_MOST);
    memset(tenants, 0, sizeof tenants);
    memset(keys, 0, sizeof keys);
    for (uint32_t i = 0; i < n_tenants; i++) {
        struct limit_tenant *t = &tenants[i];
        snprintf(t->id, sizeof t->id, "tenant-%" PRIu32 "-%" PRIu64, i, number_below(1000));
        snprintf(t->tier, sizeof t->tier, "tier-%" PRIu64, number_below(5));
        t->state = LIMIT_TENANT_ACTIVE;
        t->held = 1;
        for (int k = 0; k < LIMIT_TABLE_LIMITS; k++)
            t->limits[k] = (struct limit){.max = k < 3 ? (int64_t)number_below(1000) * EVENT_MILLION : LIMIT_UNLIMITED,
                                          .until_us = LIMIT_NEVER,
                                          .max_after = LIMIT_UNLIMITED,
                                          .window = k == 0   ? LIMIT_WINDOW_DAY
                                                    : k == 1 ? LIMIT_WINDOW_PERIOD
                                                    : k == 2 ? LIMIT_WINDOW_MINUTE
                                                             : 0};
        for (int k = 0; k < LIMIT_DAYS; k++)
            t->days[k] = (struct limit_span){NOW + (k - 1) * DAY, NOW + k * DAY, 3600, 0};
        for (int k = 0; k < LIMIT_PERIODS; k++)
            t->periods[k] = (struct limit_span){NOW + (k - 1) * 30 * DAY, NOW + k * 30 * DAY, 3600, 0};
    }
    for (uint32_t i = 0; i < n_keys; i++) {
        for (size_t k = 0; k < LIMIT_HASH_BYTES; k++)
            keys[i].hash[k] = (unsigned char)number_below(256);
        snprintf(keys[i].id, sizeof keys[i].id, "key%05u", (unsigned)(i & 0xffff));
        keys[i].scopes = (uint8_t)(1 + number_below(15));
        keys[i].is_operator = number_below(8) == 0;
        keys[i].revoked = number_below(8) == 0;
        keys[i].expires_us = number_below(2) ? LIMIT_NEVER : NOW + (int64_t)number_below(1000);
        keys[i].tenant = (uint32_t)number_below(n_tenants);
    }
}

static struct limit_catalogue catalogue(void)
{
    struct limit_catalogue c = {.n_metrics = 1, .n_limits = 3};
    static const uint8_t windows[] = {LIMIT_WINDOW_DAY, LIMIT_WINDOW_PERIOD, LIMIT_WINDOW_MINUTE};
    strcpy(c.metrics[0].name, "api_call");
    for (uint32_t i = 0; i < c.n_limits; i++) {
        snprintf(c.limits[i].key, sizeof c.limits[i].key, "limit_%" PRIu32, i);
        c.limits[i].window = windows[i];
    }
    return c;
}

/* What the collector does with a table that is new, or that it goes on with: everything anew. */
static enum status fill(struct limit_table *t)
{
    struct limit_catalogue c = catalogue();
    uint32_t places[TENANTS_MOST];
    enum status s = limit_table_put_catalogue(t, &c);
    for (uint32_t i = 0; i < n_tenants && s == STATUS_OK; i++)
        s = limit_table_put_tenant(t, &tenants[i], &places[i]);
    for (uint32_t i = 0; i < n_keys && s == STATUS_OK; i++) {
        struct limit_key k = keys[i];
        k.tenant = places[keys[i].tenant];
        s = limit_table_put_key(t, &k);
    }
    if (s == STATUS_OK)
        s = limit_table_ready(t);
    return s;
}

static enum status make(void)
{
    struct limit_table *t;
    bool fresh;
    enum status s;
    imagine();
    s = limit_table_create(dir, node, &t, &fresh);
    if (s != STATUS_OK)
        return s;
    s = fresh ? fill(t) : STATUS_EXISTS;
    limit_table_close(t);
    return s;
}

static void clear(void)
{
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/limits*", dir);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
}

static enum status take_bytes(int which, struct bytes *b)
{
    int fd = open(path_of(which), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, b->at, FILE_MOST, 0);
    b->length = n < 0 ? 0 : (size_t)n;
    if (fd >= 0)
        close(fd);
    return n > 0 ? STATUS_OK : STATUS_IO;
}

/* Writes the pages that differ: the files have holes. */
static enum status put_bytes(const char *path, const struct bytes *b, const struct bytes *before)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    enum status s = fd < 0 ? STATUS_IO : STATUS_OK;
    for (size_t at = 0; at < b->length && s == STATUS_OK; at += PAGE) {
        size_t n = b->length - at < PAGE ? b->length - at : PAGE;
        if (memcmp(b->at + at, before->at + at, n) != 0 && pwrite(fd, b->at + at, n, (off_t)at) != (ssize_t)n)
            s = STATUS_IO;
    }
    if (s == STATUS_OK && b->length < before->length && ftruncate(fd, (off_t)b->length) != 0)
        s = STATUS_IO;
    if (fd >= 0)
        close(fd);
    return s;
}

/* Half of the damage goes where something stands: most of the files is empty. */
static void flip_what_is_used(unsigned char *bytes, size_t length)
{
    size_t at = 0;
    for (int tries = 0; tries < 4096 && (at = number_below(length), !bytes[at]); tries++)
        ;
    bytes[at] ^= (unsigned char)(1u << number_below(8));
}

static void spoil(struct bytes *b, const struct bytes *other)
{
    size_t x = number_below(b->length), y = number_below(b->length), from = x < y ? x : y, to = x < y ? y : x;
    switch (number_below(9)) {
    case 0:
        b->length = from;
        break;
    case 1:
        flip_bits(b->at, b->length);
        break;
    case 2:
        swap_blocks(b->at, b->length);
        break;
    case 3:
        stale_tail(b->at, b->length, other->at, other->length);
        break;
    case 4:
        memset(b->at + from, 0, to - from);
        break;
    case 5:
        randombytes_buf_deterministic(b->at + from, to - from, (const unsigned char *)tenants);
        break;
    case 6:
        b->at[8] = (unsigned char)number_below(256); /* its version */
        break;
    default:
        for (uint64_t i = 0, n = 1 + number_below(6); i < n; i++)
            flip_what_is_used(b->at, b->length);
    }
}

/* Damages the files in place, as a disk does: whoever has them mapped sees it. */
static const char *damage(void)
{
    static struct bytes b, before;
    uint64_t which = number_below(5); /* mostly one of the two */
    if (!b.at && (!(b.at = malloc(FILE_MOST)) || !(before.at = malloc(FILE_MOST))))
        return "out of memory";
    for (int i = 0; i < 2; i++) {
        const char *path = path_of(i);
        if (which < 4 && which / 2 != (uint64_t)i)
            continue;
        if (number_below(40) == 0) {
            unlink(path);
            continue;
        }
        if (take_bytes(i, &b) != STATUS_OK)
            return "a file of the table can't be read";
        memcpy(before.at, b.at, b.length);
        before.length = b.length;
        spoil(&b, &stale[i]);
        if (put_bytes(path, &b, &before) != STATUS_OK)
            return "a file of the table can't be written";
    }
    return NULL;
}

static bool same_limits(const struct limit_tenant *a, const struct limit_tenant *b)
{
    for (int i = 0; i < 3; i++)
        if (a->limits[i].max != b->limits[i].max || a->limits[i].window != b->limits[i].window)
            return false;
    return true;
}

static const char *judge_tenant(struct limit_table *t, const struct limit_tenant *expected, bool *found)
{
    struct limit_ask ask = {.metric = 0, .amount = EVENT_MILLION};
    struct limit_tenant got;
    struct limit_answer answer;
    uint32_t index;
    int64_t used;
    enum status s = limit_table_tenant_index(t, expected->id, strlen(expected->id), &index);
    *found = false;
    if (s == STATUS_OK)
        s = limit_table_tenant(t, index, &got);
    if (s != STATUS_OK)
        return s == STATUS_DAMAGED || s == STATUS_NOT_FOUND || s == STATUS_UNAVAILABLE ? NULL : "an odd status";
    if (strcmp(got.id, expected->id) != 0 || strcmp(got.tier, expected->tier) != 0 || got.state != expected->state ||
        !same_limits(&got, expected))
        return "a tenant is not the one that was put";
    *found = true;
    if (limit_table_decide(t, index, &ask, 1, NOW + 1, true, &answer) == STATUS_OK) {
        if (strcmp(answer.tenant, expected->id) != 0 || strcmp(answer.tier, expected->tier) != 0)
            return "a decision is about another tenant";
        if (answer.reason == LIMIT_ADMITTED && limit_table_undo(t, index, &ask, 1, &answer) == STATUS_OK)
            limit_table_done(t);
    }
    if (limit_table_degraded_add(t, index, 0, 1) == STATUS_OK &&
        limit_table_count(t, index, 0, NOW, &used) == STATUS_OK &&
        limit_table_repair(t, index, 0, NOW, used, 0) == STATUS_OK)
        return limit_table_add(t, index, 0, LIMIT_ALL_WINDOWS, NOW, INT64_MAX) == STATUS_INVALID ? "an odd status"
                                                                                                 : NULL;
    return NULL;
}

static const char *judge_key(struct limit_table *t, const struct limit_key *expected, bool *found)
{
    struct limit_key got;
    enum status s = limit_table_key(t, expected->hash, &got);
    *found = s == STATUS_OK;
    if (s != STATUS_OK)
        return s == STATUS_DAMAGED || s == STATUS_NOT_FOUND || s == STATUS_UNAVAILABLE ? NULL : "an odd status";
    if (strcmp(got.id, expected->id) != 0 || got.scopes != expected->scopes || got.revoked != expected->revoked ||
        got.is_operator != expected->is_operator || got.expires_us != expected->expires_us ||
        got.tenant != expected->tenant)
        return "a key is not the one that was put";
    return NULL;
}

/* Looks every entry up; *missing counts those that were not found. */
static const char *judge(struct limit_table *t, size_t *missing)
{
    struct limit_catalogue c;
    struct limit_stats stats;
    struct limit_table_sizes sizes;
    const char *wrong = NULL;
    bool found;
    *missing = 0;
    for (uint32_t i = 0; i < n_keys && !wrong; i++) {
        wrong = judge_key(t, &keys[i], &found);
        *missing += !found;
    }
    for (uint32_t i = 0; i < n_tenants && !wrong; i++) {
        wrong = judge_tenant(t, &tenants[i], &found);
        *missing += !found;
    }
    if (!wrong && limit_table_catalogue(t, &c, NULL) == STATUS_OK && c.n_limits != 0 &&
        strcmp(c.limits[1].key, "limit_1") != 0)
        wrong = "the catalogue is not the one that was put";
    if (limit_table_stats(t, &stats) == STATUS_OK && limit_table_sizes(t, &sizes) == STATUS_OK)
        limit_table_observe(t, LIMIT_RESULT_ADMITTED, 7);
    return wrong;
}

/* The gate's turn: with the table mapped before the damage, or opened after it. */
static const char *as_gate(struct limit_table *open, size_t *missing, bool *reported)
{
    struct limit_table *t = open;
    const char *wrong = NULL;
    enum status s = t ? STATUS_OK : limit_table_open(dir, &t);
    *reported = s != STATUS_OK;
    *missing = n_keys + n_tenants;
    if (s == STATUS_OK) {
        if (limit_table_join(t) != STATUS_OK)
            wrong = "no writer's place";
        else
            wrong = judge(t, missing);
        *reported = limit_table_stale(t);
        limit_table_close(t);
    }
    return wrong;
}

/* The collector's: goes on with what is there or makes it anew; what it made anew must be complete. */
static const char *as_collector(void)
{
    struct limit_table *t;
    bool fresh;
    size_t missing = 0;
    if (limit_table_create(dir, node, &t, &fresh) != STATUS_OK)
        return "the collector can't make a table";
    enum status s = fill(t);
    if (!fresh) { /* it goes on until it meets the damage; then, or at the latest by hand, another is made */
        limit_table_close(t);
        if (limit_table_make(dir, node, &t) != STATUS_OK)
            return "a table that was given up was not made anew";
        s = fill(t);
    }
    const char *wrong = s != STATUS_OK ? "a new table can't be filled" : judge(t, &missing);
    if (!wrong && missing > 0)
        wrong = "a new table is not complete";
    limit_table_close(t);
    return wrong;
}

static const char *damage_run(struct damage_sums *sums)
{
    struct limit_table *mapped = NULL;
    size_t missing;
    bool reported;
    clear();
    if (make() != STATUS_OK)
        return "a table could not be made";
    if (number_below(2) && limit_table_open(dir, &mapped) != STATUS_OK)
        return "a sound table can't be opened";
    const char *wrong = damage();
    const char *gate = as_gate(mapped, &missing, &reported);
    sums->intact += n_keys + n_tenants - missing;
    sums->damaged += missing;
    sums->reported += reported;
    if (!wrong)
        wrong = gate;
    return wrong ? wrong : as_collector();
}

static int damage_begin(void)
{
    if (sodium_init() < 0 || !damage_dir(dir))
        return 1;
    damage_state = 1;
    for (int i = 0; i < 2; i++)
        if (!(stale[i].at = malloc(FILE_MOST)))
            return 1;
    return make() == STATUS_OK && take_bytes(0, &stale[0]) == STATUS_OK && take_bytes(1, &stale[1]) == STATUS_OK ? 0
                                                                                                                 : 1;
}

static void damage_end(void)
{
    clear();
    rmdir(dir);
    free(stale[0].at);
    free(stale[1].at);
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 500;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)getpid();
    struct damage_sums sums = damage_all(runs, seed);
    printf("damage: %ld limit tables from seed %" PRIu64
           ": entries found right %zu, damaged or not found %zu, reported in %zu "
           "runs, wrong in %ld\n",
           runs, seed, sums.intact, sums.damaged, sums.reported, sums.failed);
    printf("%d passed, %d failed\n", sums.failed == 0, sums.failed != 0);
    return sums.failed != 0;
}
