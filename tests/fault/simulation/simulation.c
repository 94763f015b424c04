/* simulation.c: writers and a collector on one disk and one database, everything breaking; then the books are compared */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "collector/counts.h"
#include "collector/rollback.h"
#include "collector/import.h"
#include "collector/reserve.h"
#include "lib/base/clock.h"
#include "lib/meter/spool/spool.h"
#include "tests/fault/simulation/process.h"

#define COLLECTOR 0
#define TURNS_MOST 700
#define LAST_TURNS 50000
#define SEGMENT_AGE_US INT64_C(3600000000)
#define LAST_BATCH_ROWS 64 /* nothing breaks any more: what is left is brought in quickly */
#define JOBS_MOST 64
#define BACK_OFF_US 400000 /* as worker.c, after some failures */

/* What the clients know of an event. */
struct attempt {
    bool acknowledged, durable, refused, cut; /* cut: the power was, after it was acknowledged */
    bool poison, gone;
    char id; /* 0: none */
};
static struct attempt attempts[SIM_EVENTS];
static unsigned n_attempts;
static struct config config;
static bool ending, power_was_cut;
static uint64_t kills, recorded_early; /* of a run */

/* ---- the parts of the collector that are not simulated ---- */

struct counts {
    int unused;
};
bool replica_good(struct replica *r)
{
    (void)r;
    return true;
}
void replica_doubt(struct replica *r)
{
    (void)r;
}
enum status counts_create(const struct config *f, const struct spool_node *node, struct replica *r, struct ingest *in,
                          const struct history_view *view, struct counts **out)
{
    (void)f, (void)node, (void)r, (void)in, (void)view;
    *out = calloc(1, sizeof(**out));
    return *out ? STATUS_OK : STATUS_NO_MEMORY;
}
void counts_destroy(struct counts *c)
{
    free(c);
}
const char *counts_error(const struct counts *c)
{
    (void)c;
    return "";
}
bool counts_holds(const struct counts *c, uint64_t segment, uint64_t position, const struct event *e)
{
    (void)c, (void)segment, (void)position, (void)e;
    return true;
}
void counts_apply(struct counts *c, const struct ingest_result *result)
{
    (void)c, (void)result;
}
void counts_went_back(struct counts *c)
{
    (void)c;
}
void rollback_forget(struct rollback *r, struct batch *b, struct counts *counts)
{
    (void)r, (void)b, (void)counts;
}
enum status rollback_retake(struct rollback *r, struct db *db)
{
    (void)r, (void)db;
    return STATUS_OK;
}
enum status rollback_fenced(struct rollback *r, struct db *db)
{
    (void)r, (void)db;
    return STATUS_FENCED;
}
void rollback_tell(struct rollback *r, struct batch *b, struct db *db)
{
    (void)r, (void)b, (void)db;
}
bool history_went_back(const struct history_view *v)
{
    (void)v;
    return false;
}
void history_settled(struct history *h)
{
    (void)h;
}
enum status counts_build(struct counts *c, struct batch *b)
{
    (void)c, (void)b;
    return STATUS_OK;
}
enum status counts_follow(struct counts *c)
{
    (void)c;
    return STATUS_OK;
}
enum status counts_lease(struct counts *c, struct batch *b)
{
    (void)c, (void)b;
    return STATUS_OK;
}
enum status counts_repair(struct counts *c, struct batch *b)
{
    (void)c, (void)b;
    return STATUS_OK;
}
enum status counts_degraded(struct counts *c, uint64_t *recorded)
{
    (void)c, (void)recorded;
    return STATUS_OK;
}
struct db *ingest_db(struct ingest *in)
{
    (void)in;
    return NULL;
}
void reserve_keep(const struct config *f)
{
    (void)f;
}
void reserve_give_back(const struct config *f)
{
    (void)f;
}
void inbox_put(struct inbox *b, const char *name)
{
    (void)b, (void)name;
}
void health_began(struct health *h, int part)
{
    (void)h, (void)part;
}
void health_worked(struct health *h, int part)
{
    (void)h, (void)part;
}
void health_failed(struct health *h, int part, const char *what, enum status s, const char *why)
{
    (void)h, (void)part, (void)what, (void)s, (void)why;
}
void health_import(struct health *h, const struct health_counts *counts, const struct batch_lag *lag)
{
    (void)h, (void)counts, (void)lag;
}

/* ---- the processes ---- */

static void run_collector(void)
{
    struct collector *c = calloc(1, sizeof(*c));
    struct import *im;
    enum status s;
    int64_t wait, sync_at = 0;

    c->config = &config;
    if (spool_node_load(SIM_DIR, false, &c->node) != STATUS_OK || import_create(c, &im) != STATUS_OK)
        return;
    while ((s = import_once(im, &wait)) != STATUS_FENCED) {
        if (!ending && config.spool.sync == SPOOL_SYNC_INTERVAL &&
            clock_mono_us() >= sync_at) { /* the collector's other thread */
            sync_at = clock_mono_us() + config.spool.sync_ms * 1000;
            if (spool_sync(SIM_DIR) != STATUS_OK)
                sim_note(4);
        }
        sim_forward(s == STATUS_OK ? wait : BACK_OFF_US);
        sim_step();
        if (ending && import_is_done(im))
            break;
        if (ending)
            sim_forward(1000000);
    }
    import_destroy(im);
}

/* What was acknowledged when a sync began is safe from a power cut when it has ended. */
enum status __real_spool_sync(const char *dir);
enum status __wrap_spool_sync(const char *dir);
enum status __wrap_spool_sync(const char *dir)
{
    bool safe[SIM_EVENTS];

    for (unsigned i = 0; i < SIM_EVENTS; i++)
        safe[i] = attempts[i].acknowledged && !attempts[i].cut;
    enum status s = __real_spool_sync(dir);

    for (unsigned i = 0; s == STATUS_OK && i < SIM_EVENTS; i++)
        attempts[i].durable = attempts[i].durable || safe[i];
    return s;
}

static struct event make_event(struct attempt *a, char name[24])
{
    static const char ids[] = "0123456789";
    unsigned serial = n_attempts++;

    *a = (struct attempt){.poison = sim_random(100) == 0, .gone = sim_random(40) == 0};
    if (!a->poison && !a->gone && sim_random(3) == 0)
        a->id = (char)('0' + sim_random(10));
    snprintf(name, 24, a->gone ? "tg" : "tenant%u", (unsigned)sim_random(3));
    struct event e = {.tenant = {name, strlen(name)}, .metric = {"api_call", 8}};

    e.value = (int64_t)serial * SIM_KINDS + (a->poison ? SIM_POISON : SIM_PLAIN);
    e.metadata = (struct text){"{\"method\":\"GET\",\"normalized\":\"/a\"}", sim_random(8) ? 0 : 34};
    if (a->id)
        e.id = (struct text){&ids[a->id - '0'], 1};
    return e;
}

/* Appends up to three events and keeps the answer; false when there are enough. */
static bool write_some(struct spool_writer *w, bool durable)
{
    struct event events[3];
    char names[3][24];
    unsigned first = n_attempts, n = 1 + (unsigned)sim_random(3);

    if (first + n > SIM_EVENTS || ending)
        return false;
    for (unsigned i = 0; i < n; i++)
        events[i] = make_event(&attempts[first + i], names[i]);
    enum status s = spool_append(w, events, n, durable);

    sim_note(10 + s);
    for (unsigned i = 0; i < n; i++) {
        attempts[first + i].acknowledged = s == STATUS_OK;
        attempts[first + i].durable = durable || config.spool.sync == SPOOL_SYNC_ALWAYS;
        attempts[first + i].refused = s == STATUS_NO_SPACE;
    }
    return true;
}

static void run_writer(void)
{
    bool web = sim_process() % 2 == 0;
    struct spool_options o = {.dir = SIM_DIR,
                              .kind = web ? SPOOL_WEB : SPOOL_GATE,
                              .sync = (enum spool_sync)config.spool.sync,
                              .segment_bytes = 400 + sim_random(4000),
                              .segment_age_us = SEGMENT_AGE_US,
                              .max_bytes = sim_random(8) ? 0 : 8000};
    struct spool_writer *w;

    if (spool_writer_open(&o, &w) != STATUS_OK)
        return;
    for (int64_t left = 1 + (int64_t)sim_random(30); left > 0 && write_some(w, web); left--)
        sim_step();
    spool_writer_close(w);
}

/* ---- one run ---- */

static void kill_process(int i)
{
    if (process_alive(i))
        kills++;
    process_end(i);
}

static void cut_power(void)
{
    power_was_cut = true;
    for (int i = 0; i < SIM_PROCESSES; i++)
        kill_process(i);
    disk_power_cut();
    for (unsigned i = 0; i < n_attempts; i++)
        attempts[i].cut = true;
}

static void begin(uint64_t seed, bool plant)
{
    struct spool_node node = {.uuid = {1, 2, 3}, .token = {4}};

    sim_begin(seed);
    sim_calm(true);
    disk_format();
    database_reset(plant);
    memset(attempts, 0, sizeof(attempts));
    n_attempts = 0;
    ending = power_was_cut = false;
    kills = recorded_early = 0;
    config = (struct config){.paths.spool_dir = SIM_DIR,
                             .spool = {.sync = (int64_t)sim_random(3), .sync_ms = 50},
                             .collector = {.batch_rows = 1 + (int64_t)sim_random(12), .batch_ms = 5, .poll_ms = 200}};
    if (spool_node_store(SIM_DIR, &node) != STATUS_OK)
        abort();
    sim_calm(false);
}

static const char *wrong(const struct attempt *a, const struct sim_book *b, const bool *id_there)
{
    unsigned sum = (unsigned)b->stored + b->rejected + b->duplicate;

    if (b->stored > 1 || sum > 1)
        return "recorded twice";
    if (b->rejected && !a->poison && !a->gone)
        return "good, but rejected";
    if (sum && a->refused)
        return "refused, but recorded";
    if (a->acknowledged && sum == 0 && (!a->cut || a->durable))
        return "acknowledged, but lost";
    if (a->acknowledged && a->id && sum && !id_there[a->id - '0'])
        return "a duplicate of nothing";
    return NULL;
}

static const char *compare(unsigned *serial)
{
    unsigned ids[10] = {0};
    bool there[10];
    const char *what = NULL;

    for (unsigned i = 0; i < n_attempts; i++)
        if (attempts[i].id)
            ids[attempts[i].id - '0'] += database_book(i)->stored;
    for (int i = 0; i < 10; i++) {
        there[i] = ids[i] > 0;
        if (ids[i] > 1)
            what = "an id stored twice";
    }
    for (*serial = 0; !what && *serial < n_attempts; (*serial)++)
        if ((what = wrong(&attempts[*serial], database_book(*serial), there)))
            return what;
    if (!what && database_damage() > 0 && !power_was_cut)
        what = "damage where nothing was damaged";
    return what;
}

/* NULL, or what broke. */
static const char *run(uint64_t seed, bool plant, unsigned *serial)
{
    begin(seed, plant);
    int64_t turns = 100 + (int64_t)sim_random(TURNS_MOST - 100),
            cut = sim_random(3) ? -1 : (int64_t)sim_random((uint64_t)turns);

    for (int64_t t = 0; t < turns; t++) {
        int i = sim_random(2) ? COLLECTOR : (int)sim_random(SIM_PROCESSES);

        if (t == cut)
            cut_power();
        if (!process_alive(i) && sim_random(4) == 0)
            process_start(i, i == COLLECTOR ? run_collector : run_writer);
        if (process_alive(i))
            process_run(i);
        if (sim_fault(60))
            kill_process(i);
    }
    sim_calm(true);
    for (unsigned i = 0; i < n_attempts; i++) {
        const struct sim_book *b = database_book(i);

        recorded_early += b->stored || b->rejected || b->duplicate;
    }
    ending = true;
    config.collector.batch_rows = LAST_BATCH_ROWS;
    for (int i = 0; i < SIM_PROCESSES; i++)
        kill_process(i);
    process_start(COLLECTOR, run_collector);
    for (int64_t t = 0; t < LAST_TURNS && process_alive(COLLECTOR); t++)
        process_run(COLLECTOR);
    if (process_alive(COLLECTOR)) {
        process_end(COLLECTOR);
        return "the spool was never drained";
    }
    return compare(serial);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- many runs ---- */

/* The first runs are done twice: a seed gives one trace. */
#define TWICE 50
#define BROKEN_MOST 5

struct options {
    uint64_t runs, first, jobs;
    bool plant;
};
struct sum {
    uint64_t runs, acknowledged, early, kills, broken, differ;
};

static void one_of_many(const struct options *o, uint64_t n, struct sum *sum)
{
    unsigned serial = 0;
    const char *what = run(o->first + n, o->plant, &serial);
    uint64_t trace = sim_trace();

    sum->runs++;
    sum->kills += kills;
    sum->early += recorded_early;
    for (unsigned i = 0; i < n_attempts; i++)
        sum->acknowledged += attempts[i].acknowledged;
    if (what) {
        printf("seed %" PRIu64 ": event %u: %s (replay with --seed %" PRIu64 "%s)\n", o->first + n, serial, what,
               o->first + n, o->plant ? " --plant" : "");
        sum->broken++;
    }
    if (n < TWICE) {
        run(o->first + n, o->plant, &serial);
        sum->differ += sim_trace() != trace;
    }
    if (o->runs == 1)
        printf("seed %" PRIu64 ": trace %016" PRIx64 ", %u events, %" PRIu64 " kills\n", o->first, trace, n_attempts,
               kills);
}

/* Every `jobs`th run, from `job` on. */
static void some(const struct options *o, uint64_t job, struct sum *sum)
{
    for (uint64_t n = job; n < o->runs && sum->broken < (o->plant ? 1 : BROKEN_MOST); n += o->jobs)
        one_of_many(o, n, sum);
}

/* Each job is a process; a job that crashes counts as a broken promise. */
static void many(const struct options *o, struct sum *sum)
{
    struct sum *sums = mmap(NULL, JOBS_MOST * sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;

    if (sums == MAP_FAILED)
        abort();
    for (uint64_t job = 1; job < o->jobs; job++)
        if (fork() == 0) {
            some(o, job, &sums[job]);
            fflush(stdout);
            _exit(0);
        }
    some(o, 0, &sums[0]);
    while (wait(&status) > 0)
        sums[0].broken += status != 0;
    for (uint64_t job = 0; job < o->jobs; job++) {
        sum->runs += sums[job].runs;
        sum->acknowledged += sums[job].acknowledged;
        sum->early += sums[job].early;
        sum->kills += sums[job].kills;
        sum->broken += sums[job].broken;
        sum->differ += sums[job].differ;
    }
    munmap(sums, JOBS_MOST * sizeof(*sums));
}

static struct options read_options(int argc, char **argv)
{
    struct options o = {.runs = 2000, .first = 1, .jobs = 1};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--plant") == 0)
            o.plant = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            o.first = strtoull(argv[++i], NULL, 10), o.runs = 1;
        else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
            o.jobs = strtoull(argv[++i], NULL, 10);
        else
            o.runs = strtoull(argv[i], NULL, 10);
    }
    if (o.jobs < 1 || o.jobs > JOBS_MOST)
        o.jobs = 1;
    return o;
}

int main(int argc, char **argv)
{
    const struct options o = read_options(argc, argv);
    struct sum sum = {0};
    double started = seconds();

    setvbuf(stdout, NULL, _IOLBF, 0);
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* a batch's memory comes back to the next one, page by page as it was */
    mallopt(M_TRIM_THRESHOLD, 1 << 28);
    many(&o, &sum);
    printf("%" PRIu64 " runs, %.0f a second, %" PRIu64 " events acknowledged, %" PRIu64
           " recorded while things broke, %" PRIu64 " kills, %" PRIu64 " runs broke a promise, %" PRIu64
           " replays differ\n",
           sum.runs, (double)sum.runs / (seconds() - started), sum.acknowledged, sum.early, sum.kills, sum.broken,
           sum.differ);
    bool passed = (o.plant ? sum.broken > 0 : sum.broken == 0) && sum.differ == 0;

    printf("%d passed, %d failed\n", passed, !passed);
    return !passed;
}
