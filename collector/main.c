/* main.c: tollgate-collector, one a node: the spool into PostgreSQL, PostgreSQL into the limit table */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "collector/health_file.h"
#include "collector/import.h"
#include "collector/jobs.h"
#include "collector/replicate.h"
#include "collector/reserve.h"
#include "collector/worker.h"
#include "lib/base/arguments.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/store/node.h"

#define TAKE_RETRY_US 500000
#define HEALTH_US 500000
#define BACK_OFF_MOST_US (5 * CLOCK_US_PER_SECOND)
#define REPLICATE_BACK_OFF_MOST_US CLOCK_US_PER_SECOND /* so that a revoked key is refused soon after an outage, too */
#define IMPORT_END_US (40 * CLOCK_US_PER_SECOND)       /* the statement that it is in, and what is readable */
#define OTHERS_END_US (2 * CLOCK_US_PER_SECOND)

struct arguments {
    const char *config;
    bool wait, take_over;
};

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, true);
}

static bool is_stopping(void)
{
    return atomic_load(&stopping);
}

static void nap(int64_t us)
{
    struct timespec ts = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND * 1000};

    if (us > 0 && !is_stopping())
        nanosleep(&ts, NULL);
}

static const char usage[] =
    "usage: tollgate-collector [--config FILE] [--wait] [--take-over] | --version\n"
    "  --wait       wait for another collector of this spool to end, instead of saying so\n"
    "  --take-over  this is the right machine for this spool, although another one has started with its node id\n";

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};

    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}

static bool become_user(const struct config *config)
{
    if (prefork_become(config->process.user) == STATUS_OK)
        return true;
    log_error("can't become user %s", config->process.user);
    return false;
}

/* The folder's lock, held by a descriptor that stays open as long as the process lives; false when another has it. */
static bool lock_spool(const struct config *config, bool wait)
{
    char path[4096];
    int fd;

    if (io_make_dir(config->paths.spool_dir, 0700) != STATUS_OK ||
        io_make_dir(config->paths.run_dir, 0755) != STATUS_OK ||
        io_path(path, sizeof(path), config->paths.spool_dir, "collector.lock") != STATUS_OK ||
        (fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0) {
        log_error("%s can't be used: %s", config->paths.spool_dir, strerror(errno));
        return false;
    }
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && !is_stopping()) {
        if (!wait) {
            log_error("another collector serves %s already; stop it first, or start with --wait",
                      config->paths.spool_dir);
            close(fd);
            return false;
        }
        nap(100000);
    }
    return true;
}

static void write_health(struct collector *c)
{
    if (health_file_write(c) == STATUS_NO_SPACE)
        reserve_give_back(c->config);
}

static void say_refused(const struct collector *c, struct db *db, enum status s, const char *where)
{
    const char *dir = c->config->paths.spool_dir;

    if (s == STATUS_CONFLICT)
        log_error(
            "this node was started elsewhere since (%s), so this spool may be a copy. Nothing is lost while the "
            "collector "
            "is stopped: find out first where the other one runs. If this is the right machine, stop the other one and "
            "start this one with --take-over. If this one is the copy, leave the other one, bring in what was written "
            "here alone with `tollgate spool ingest %s`, and only then remove %s, so that this machine becomes a node "
            "of "
            "its own",
            where, dir, dir);
    else
        log_error("the node can't be registered: %s", db_error(db)[0] ? db_error(db) : status_text(s));
}

/* The tokens of earlier starts; this one's is among them before it can be in the database. */
static enum status add_start(struct collector *c, const unsigned char next[16], unsigned char **past, size_t *n)
{
    const char *dir = c->config->paths.spool_dir;
    enum status s = spool_starts(dir, past, n);

    if (s == STATUS_OK && *n == 0) /* made by a version that did not remember them */
        s = spool_starts_add(dir, c->node.token);
    free(s == STATUS_OK ? *past : NULL);
    if (s == STATUS_OK)
        s = spool_starts_add(dir, next);
    return s == STATUS_OK ? spool_starts(dir, past, n) : s;
}

/* Makes this start's token the one in force: in the database, then in the node file. */
static enum status take_node(struct collector *c, struct import *im, bool take_over)
{
    unsigned char next[16], *past;
    char host[256] = "", where[256];
    struct node_start start = {.next = next, .host = host, .take_over = take_over};
    struct db *db = import_db(im);
    bool older = false;
    enum status s;

    gethostname(host, sizeof(host) - 1);
    randombytes_buf(next, sizeof(next));
    if ((s = add_start(c, next, &past, &start.n_past)) != STATUS_OK)
        return s;
    start.past = past;
    while ((s = node_take(db, &c->node, &start, import_view(im), &older, where)) == STATUS_UNAVAILABLE &&
           !is_stopping()) {
        health_failed(&c->health, HEALTH_IMPORT, "PostgreSQL", s, db_error(db));
        write_health(c);
        import_forget(im);
        nap(TAKE_RETRY_US + random() % TAKE_RETRY_US);
    }
    free(past);
    if (s != STATUS_OK) {
        say_refused(c, db, s, where);
        return s;
    }
    if (older && import_view(im)->generation == 0) /* nothing else showed it */
        history_set_back(c->history, "it holds an earlier start of this node");
    memcpy(c->node.token, next, sizeof(next));
    return spool_node_store(c->config->paths.spool_dir, &c->node);
}

/* ---- the workers ---- */

struct parts {
    struct import *import;
    struct replicate *replicate;
    struct jobs *jobs;
    struct worker workers[HEALTH_WORKERS];
    bool fenced; /* set by import's thread before it ends */
};

static enum status open_parts(struct collector *c, struct parts *p)
{
    enum status s = sync_create(c->config, &c->sync);
    char node[SPOOL_NODE_TEXT];

    spool_node_text(&c->node, node);
    health_init(&c->health);
    replica_init(&c->replica);
    c->stopped = is_stopping;
    if (s == STATUS_OK)
        s = history_open(c->config->paths.spool_dir, node, &c->history);
    if (s == STATUS_OK)
        s = inbox_create(&c->to_measure);
    if (s == STATUS_OK)
        s = import_create(c, &p->import);
    if (s == STATUS_OK)
        s = replicate_create(c, &p->replicate);
    if (s == STATUS_OK)
        s = jobs_create(c, &p->jobs);
    return s;
}

static void close_parts(struct collector *c, struct parts *p)
{
    jobs_destroy(p->jobs);
    replicate_destroy(p->replicate);
    import_destroy(p->import);
    inbox_destroy(c->to_measure);
    sync_destroy(c->sync);
    history_close(c->history);
    replica_term(&c->replica);
    health_term(&c->health);
}

/* In import's thread: what is readable goes in at the end, unless the node is another's. */
static void import_ended(void *arg, enum status s)
{
    struct parts *p = arg;

    p->fenced = s == STATUS_FENCED;
    if (!p->fenced)
        import_finish(p->import);
    atomic_store(&stopping, true);
}

static enum status start_workers(struct parts *p)
{
    enum status s = STATUS_OK;

    p->workers[HEALTH_IMPORT] = (struct worker){
        .name = "import", .once = import_once, .arg = p->import, .back_off_most_us = BACK_OFF_MOST_US};
    p->workers[HEALTH_IMPORT].ended = import_ended;
    p->workers[HEALTH_IMPORT].ended_arg = p;
    p->workers[HEALTH_REPLICATE] = (struct worker){.name = "replicate",
                                                   .once = replicate_once,
                                                   .arg = p->replicate,
                                                   .back_off_most_us = REPLICATE_BACK_OFF_MOST_US};
    p->workers[HEALTH_JOBS] = (struct worker){
        .name = "jobs", .once = jobs_once, .arg = p->jobs, .back_off_most_us = BACK_OFF_MOST_US};
    for (int i = 0; i < HEALTH_WORKERS && s == STATUS_OK; i++)
        s = worker_start(&p->workers[i]);
    return s;
}

/* True: all have ended, so that what they used can be freed. Whoever waits for PostgreSQL longer than that is left alone. */
static bool end_workers(struct parts *p)
{
    bool all = true;

    for (int i = 0; i < HEALTH_WORKERS; i++)
        worker_stop(&p->workers[i]);
    for (int i = 0; i < HEALTH_WORKERS; i++)
        all = worker_join(&p->workers[i], i == HEALTH_IMPORT ? IMPORT_END_US : OTHERS_END_US) && all;
    return all;
}

/* The exit status. Does not return when a worker hangs: nothing may be freed under it. */
static int run(struct collector *c, struct parts *p)
{
    struct health_counts counts;
    struct batch_lag lag;
    bool ended;

    log_info("collecting from %s", c->config->paths.spool_dir);
    if (start_workers(p) != STATUS_OK)
        log_error("can't start: %s", status_text(STATUS_NO_MEMORY));
    else
        while (!is_stopping()) {
            write_health(c);
            nap(HEALTH_US);
        }
    ended = end_workers(p);
    write_health(c);
    health_counts(&c->health, &counts, &lag);
    if (p->fenced)
        log_error("another collector has started with this node's id: this one ends (%s)",
                  c->health.parts[HEALTH_IMPORT].error);
    else
        log_info("ended: %llu rows in %llu batches", (unsigned long long)counts.rows,
                 (unsigned long long)counts.batches);
    if (!ended)
        _exit(p->fenced);
    return p->fenced;
}

int main(int argc, char **argv)
{
    struct arguments a = {NULL, false, false};
    struct collector c;
    struct parts p;
    struct config *config;
    char problem[512];
    const struct arguments_flag flags[] = {{"wait", &a.wait}, {"take-over", &a.take_over}, {0}};
    int status = arguments_read(argc, argv, "tollgate-collector", usage, flags, &a.config);
    enum status s;

    if (status >= 0)
        return status;
    status = 1;
    memset(&c, 0, sizeof(c));
    memset(&p, 0, sizeof(p));

    /* configuration */
    if (config_load(a.config, &config, problem) != STATUS_OK) {
        fprintf(stderr, "tollgate-collector: %s\n", problem);
        return 1;
    }
    c.config = config;
    log_init("collector", (enum log_level)config->log.level);
    catch_signals();
    umask(0027);
    srandom((unsigned int)(clock_wall_us() ^ getpid()));

    /* privileges, then the one collector of this spool */
    if (sodium_init() < 0 || !become_user(config) || !lock_spool(config, a.wait))
        goto out;

    /* who this node is */
    if ((s = spool_node_load(config->paths.spool_dir, true, &c.node)) != STATUS_OK) {
        log_error("%s/node can't be read: %s", config->paths.spool_dir, status_text(s));
        goto out;
    }
    if ((s = open_parts(&c, &p)) != STATUS_OK)
        log_error("can't start: %s", status_text(s));
    else if (take_node(&c, p.import, a.take_over) == STATUS_OK)
        status = run(&c, &p);
    else if (is_stopping())
        status = 0;
    close_parts(&c, &p);
out:
    config_free(config);
    return status;
}
