/* main.c: tollgate-collector, one a node: the spool into PostgreSQL, PostgreSQL into the limit table */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/store/node.h"

#define TAKE_RETRY_US 500000

struct arguments {
    const char *config;
    bool wait, take_over;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static bool is_stopping(void)
{
    return stopping != 0;
}

static void nap(int64_t us)
{
    struct timespec ts = {us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND * 1000};

    if (us > 0 && !stopping)
        nanosleep(&ts, NULL);
}

static void usage(FILE *to)
{
    fputs(
        "usage: tollgate-collector [--config FILE] [--wait] [--take-over] | --version\n"
        "  --wait       wait for another collector of this spool to end, instead of saying so\n"
        "  --take-over  this is the right machine for this spool, although another one has started with its node id\n",
        to);
}

/* -1: go on; else the exit status. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            a->config = argv[++i];
        } else if (strcmp(argv[i], "--wait") == 0) {
            a->wait = true;
        } else if (strcmp(argv[i], "--take-over") == 0) {
            a->take_over = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("tollgate-collector " TOLLGATE_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        } else {
            usage(stderr);
            return 2;
        }
    }
    return -1;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};

    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}

static bool become_user(void)
{
    const char *user = getenv("TOLLGATE_USER");

    if (geteuid() != 0 || !user || !user[0])
        return true;
    if (prefork_become(user) == STATUS_OK)
        return true;
    log_error("can't become user %s", user);
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
    while (flock(fd, LOCK_EX | LOCK_NB) != 0 && !stopping) {
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

/* The token of a start that may have been cut off between the database and the node file. */
static bool read_pending(const char *path, unsigned char token[16])
{
    char *bytes;
    size_t n;

    if (io_read_file(path, 64, &bytes, &n) != STATUS_OK)
        return false;
    if (n == 16)
        memcpy(token, bytes, 16);
    free(bytes);
    return n == 16;
}

/*
 * Makes this start's token the one in force. The new one is written beside the node file first, then committed, then put
 * into the node file, so that a crash at any point is told from a copied image.
 */
static enum status take_node(struct collector *c, bool take_over)
{
    unsigned char pending[16], next[16];
    char path[4096], host[256] = "", where[256];
    bool had;
    enum status s = io_path(path, sizeof(path), c->config->paths.spool_dir, "node.next");

    if (s != STATUS_OK)
        return s;
    gethostname(host, sizeof(host) - 1);
    had = read_pending(path, pending);
    if (had)
        memcpy(next, pending, sizeof(next)); /* it may be in force already */
    else
        randombytes_buf(next, sizeof(next));
    if (!had && (s = io_replace_file(path, next, sizeof(next), 0600)) != STATUS_OK)
        return s;
    while ((s = node_take(ingest_db(c->ingest), &c->node, had ? pending : NULL, next, host, take_over, where)) ==
               STATUS_UNAVAILABLE &&
           !stopping) {
        status_failed(c, "PostgreSQL", s, ingest_error(c->ingest));
        status_write(c);
        nap(TAKE_RETRY_US + random() % TAKE_RETRY_US);
    }
    if (s == STATUS_CONFLICT)
        log_error("this node was started elsewhere since (%s). If this machine is a copy of that one, remove %s/node "
                  "and what "
                  "it copied of the spool, then start again. If this is the right one, start it with --take-over.",
                  where, c->config->paths.spool_dir);
    else if (s != STATUS_OK)
        log_error("the node can't be registered: %s",
                  ingest_error(c->ingest)[0] ? ingest_error(c->ingest) : status_text(s));
    if (s != STATUS_OK)
        return s;
    memcpy(c->node.token, next, sizeof(next));
    if ((s = spool_node_store(c->config->paths.spool_dir, &c->node)) == STATUS_OK)
        unlink(path);
    return s;
}

static enum status open_parts(struct collector *c)
{
    const struct config *f = c->config;
    struct ingest_options o = {.conninfo = f->database.collector,
                               .token = c->node.token,
                               .connect_timeout_s = (int)f->database.connect_timeout_s,
                               .statement_timeout_s = (int)f->database.statement_timeout_s,
                               .endpoints_max = (int)f->collector.endpoints_max};
    struct batch_options b = {.spool_dir = f->paths.spool_dir,
                              .rows = (size_t)f->collector.batch_rows,
                              .unmarked = true,
                              .remove_ended = true};
    enum status s;

    memcpy(o.node, c->node.uuid, sizeof(o.node));
    memcpy(b.node, c->node.uuid, sizeof(b.node));
    if ((s = ingest_open(&o, &c->ingest)) == STATUS_OK)
        s = batch_create(&b, &c->batch);
    if (s == STATUS_OK)
        s = table_create(f, &c->node, &c->table);
    if (s == STATUS_OK)
        s = sync_create(f, &c->sync);
    c->storage = storage_find((size_t)f->storage.backend_kind);
    c->stopped = is_stopping;
    c->seen.started_us = clock_wall_us();
    return s;
}

static void close_parts(struct collector *c)
{
    sync_destroy(c->sync);
    table_destroy(c->table);
    batch_destroy(c->batch);
    ingest_close(c->ingest);
}

static int run(struct collector *c)
{
    enum status s = STATUS_OK;
    int64_t wait;

    log_info("collecting from %s", c->config->paths.spool_dir);
    while (!stopping && (s = loop_once(c, &wait)) == STATUS_OK)
        nap(wait);
    if (s == STATUS_FENCED) {
        log_error("another collector has started with this node's id: this one ends (%s)", ingest_error(c->ingest));
        return 1;
    }
    loop_finish(c);
    log_info("ended: %llu rows in %llu batches", (unsigned long long)c->seen.rows, (unsigned long long)c->seen.batches);
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {NULL, false, false};
    struct collector c;
    struct config *config;
    char problem[512];
    int status = read_arguments(argc, argv, &a);

    if (status >= 0)
        return status;
    status = 1;
    memset(&c, 0, sizeof(c));

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
    if (sodium_init() < 0 || !become_user() || !lock_spool(config, a.wait))
        goto out;

    /* who this node is */
    enum status s = spool_node_load(config->paths.spool_dir, true, &c.node);

    if (s != STATUS_OK) {
        log_error("%s/node can't be read: %s", config->paths.spool_dir, status_text(s));
        goto out;
    }
    if ((s = open_parts(&c)) != STATUS_OK) {
        log_error("can't start: %s", status_text(s));
        goto out;
    }
    if (take_node(&c, a.take_over) == STATUS_OK)
        status = run(&c);
    else if (stopping)
        status = 0;
out:
    close_parts(&c);
    config_free(config);
    return status;
}
