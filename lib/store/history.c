/* history.c: has the database gone back in time */
#include "lib/store/history.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/db.h"

#define SEEN_BYTES 64
#define CHECKED 56
#define MAGIC UINT64_C(0x31304e4545534754) /* "TGSEEN01" */

/*
 * What the node last saw of its database, in `<spool>/seen`: 64 bytes, written in place after each commit. A killed collector leaves
 * the last one, whatever the disk has.
 */
struct seen {
    uint64_t system; /* PostgreSQL's system identifier; 0: nothing was seen yet */
    uint64_t xid;    /* a transaction id that was not yet finished when it was read */
    int64_t commits; /* of this node, as far as they were acknowledged */
    int64_t at_us;   /* when the last was, wall clock */
    uint32_t timeline;
    bool pending; /* it went back, and what has to be done about it is not done */
};

struct history {
    pthread_mutex_t lock;
    int fd;
    char node[SPOOL_NODE_TEXT];
    struct seen seen;
    uint64_t generation; /* of the workers' views: 0 at the start */
    struct history_rollback rollback;
    bool untold;
};

/* ---- the file ---- */

/* `<dir>/seen`, made when it is missing; -1 on failure. */
static int seen_open(const char *dir)
{
    char path[PATH_MAX];

    if (io_path(path, sizeof(path), dir, "seen") != STATUS_OK)
        return -1;
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* STATUS_NOT_FOUND when there is nothing yet; STATUS_DAMAGED when a power cut left half of it. */
static enum status seen_read(int fd, struct seen *out)
{
    uint64_t v[SEEN_BYTES / 8];
    ssize_t n = pread(fd, v, sizeof(v), 0);

    if (n < 0)
        return STATUS_IO;
    if (n == 0)
        return STATUS_NOT_FOUND;
    if (n != (ssize_t)sizeof(v) || le64toh(v[0]) != MAGIC || le64toh(v[7]) != XXH3_64bits(v, CHECKED))
        return STATUS_DAMAGED;
    *out = (struct seen){.system = le64toh(v[1]),
                         .xid = le64toh(v[2]),
                         .commits = (int64_t)le64toh(v[3]),
                         .at_us = (int64_t)le64toh(v[4]),
                         .timeline = (uint32_t)le64toh(v[5]),
                         .pending = le64toh(v[6]) != 0};
    return STATUS_OK;
}

static enum status seen_write(int fd, const struct seen *s)
{
    uint64_t v[SEEN_BYTES / 8] = {htole64(MAGIC),
                                  htole64(s->system),
                                  htole64(s->xid),
                                  htole64((uint64_t)s->commits),
                                  htole64((uint64_t)s->at_us),
                                  htole64(s->timeline),
                                  htole64(s->pending)};

    v[7] = htole64(XXH3_64bits(v, CHECKED));
    return pwrite(fd, v, sizeof(v), 0) == (ssize_t)sizeof(v) ? STATUS_OK : STATUS_IO;
}

/* ---- */

enum status history_open(const char *spool_dir, const char *node, struct history **out)
{
    struct history *h = calloc(1, sizeof(*h));
    enum status s;

    if (!h)
        return STATUS_NO_MEMORY;
    pthread_mutex_init(&h->lock, NULL);
    snprintf(h->node, sizeof(h->node), "%s", node);
    if ((h->fd = seen_open(spool_dir)) < 0) {
        free(h);
        return STATUS_IO;
    }
    if ((s = seen_read(h->fd, &h->seen)) == STATUS_DAMAGED)
        log_warning("%s/seen is damaged: whether PostgreSQL went back since it was written is not known", spool_dir);
    if (s == STATUS_OK && h->seen.pending) { /* the collector was ended before it had done all about it */
        h->generation = 1;
        snprintf(h->rollback.cause, sizeof(h->rollback.cause), "found before this start");
    }
    *out = h;
    return STATUS_OK;
}

void history_close(struct history *h)
{
    if (!h)
        return;
    close(h->fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void save(struct history *h)
{
    static bool failed;

    if (seen_write(h->fd, &h->seen) == STATUS_OK)
        failed = false;
    else if (!failed) {
        failed = true;
        log_warning("what was seen of PostgreSQL can't be written into the spool's folder");
    }
}

/* ---- with the lock held ---- */

static void set_back_locked(struct history *h, const char *cause, int64_t held)
{
    struct history_rollback *r = &h->rollback;
    char at[CLOCK_RFC3339_SIZE];

    snprintf(r->cause, sizeof(r->cause), "%s", cause);
    r->commits_known = h->seen.commits;
    r->commits_held = held;
    r->known_at_us = h->seen.at_us;
    clock_rfc3339(at, h->seen.at_us, 0, 1);
    log_warning(
        "PostgreSQL is not where this node last saw it (%s): it holds %" PRId64 " commits of this node, %" PRId64
        " were acknowledged, the last at %s. Positions are read anew, kept segments are stored again from there, and "
        "the limit table is made anew",
        cause, held, h->seen.commits, h->seen.at_us ? at : "an unknown time");
    h->generation++;
    h->untold = true;
    h->seen.pending = true;
    h->seen.commits = held;
    h->seen.xid = 0;
}

struct found {
    uint64_t system, xmax;
    uint32_t timeline;
    int64_t commits;
};

/* Why what was found can't follow what was seen; false: it can. */
static bool contradicts(const struct seen *s, const struct found *f, char cause[200])
{
    if (s->system == 0)
        return false;
    if (f->system != s->system)
        snprintf(cause, 200, "it is another cluster, %" PRIu64 " in place of %" PRIu64, f->system, s->system);
    else if (f->commits < s->commits)
        snprintf(cause, 200, "it went back in time");
    else if (f->timeline != s->timeline)
        snprintf(cause, 200, "it is on timeline %u in place of %u: a standby was promoted, or it was restored",
                 f->timeline, s->timeline);
    else if (f->xmax < s->xid)
        snprintf(cause, 200, "its transaction ids went back from %" PRIu64 " to %" PRIu64, s->xid, f->xmax);
    else
        return false;
    return true;
}

/* `seen` and `generation` are as they were before the database was asked. */
static bool is_followed(struct history_view *v, const struct seen *seen, uint64_t generation, const struct found *f)
{
    struct history *h = v->history;
    char cause[200];

    if (generation == h->generation && contradicts(seen, f, cause))
        set_back_locked(h, cause, f->commits);
    if (h->seen.system != f->system || h->seen.timeline != f->timeline || h->generation != generation) {
        h->seen.system = f->system;
        h->seen.timeline = f->timeline;
        save(h);
    }
    return v->generation == h->generation;
}

/* ---- */

/* Where the database stands. STATUS_UNAVAILABLE: a standby. */
static enum status ask(struct db *d, const struct history *h, struct found *f)
{
    static const char sql[] =
        "SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_is_in_recovery(), "
        "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ('x' OPERATOR(pg_catalog.||) pg_catalog.substr("
        "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int8 END, "
        "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text, "
        "(SELECT n.commits FROM tollgate.collector_nodes n WHERE n.node OPERATOR(pg_catalog.=) $1::pg_catalog.uuid)";
    struct db_rows *rows;
    enum status s = db_query(d, sql, DB_WITH(h->node), &rows);

    if (s != STATUS_OK)
        return s;
    *f = (struct found){.system = (uint64_t)db_int(rows, 0, 0),
                        .timeline = (uint32_t)db_int(rows, 0, 2),
                        .xmax = strtoull(db_text(rows, 0, 3), NULL, 10),
                        .commits = db_int(rows, 0, 4)};
    s = db_bool(rows, 0, 1) ? STATUS_UNAVAILABLE : STATUS_OK;
    db_rows_free(rows);
    return s;
}

const char *history_check(struct db *d, void *view)
{
    struct history_view *v = view;
    struct history *h = v->history;
    struct seen seen;
    struct found f;
    uint64_t generation;
    bool follows;
    enum status s;

    pthread_mutex_lock(&h->lock);
    seen = h->seen;
    generation = h->generation;
    pthread_mutex_unlock(&h->lock);
    if ((s = ask(d, h, &f)) != STATUS_OK) {
        snprintf(v->why, sizeof(v->why), "%s",
                 s == STATUS_UNAVAILABLE && db_error(d)[0] == '\0' ? "a standby takes no writes" : db_error(d));
        return v->why;
    }
    pthread_mutex_lock(&h->lock);
    follows = is_followed(v, &seen, generation, &f);
    pthread_mutex_unlock(&h->lock);
    return follows ? NULL : "PostgreSQL is not where this node last saw it: positions are read anew";
}

bool history_went_back(const struct history_view *v)
{
    bool went;

    pthread_mutex_lock(&v->history->lock);
    went = v->generation != v->history->generation;
    pthread_mutex_unlock(&v->history->lock);
    return went;
}

void history_accept(struct history_view *v)
{
    pthread_mutex_lock(&v->history->lock);
    v->generation = v->history->generation;
    pthread_mutex_unlock(&v->history->lock);
}

int64_t history_commits(const struct history_view *v)
{
    int64_t commits;

    if (!v)
        return 0;

    pthread_mutex_lock(&v->history->lock);
    commits = v->history->seen.commits;
    pthread_mutex_unlock(&v->history->lock);
    return commits;
}

void history_committed(const struct history_view *v, int64_t before, int64_t number)
{
    struct history *h;

    if (!v)
        return;
    h = v->history;
    pthread_mutex_lock(&h->lock);
    if (v->generation != h->generation) {
        /* what a connection from before says is worth nothing any more */
    } else if (number <= before) {
        set_back_locked(h, "it went back in time, behind a connection that stayed", number);
        save(h);
    } else if (number > h->seen.commits) {
        h->seen.commits = number;
        h->seen.at_us = clock_wall_us();
        save(h);
    }
    pthread_mutex_unlock(&h->lock);
}

void history_cursor(const struct history_view *v, const char *xid)
{
    uint64_t number = strtoull(xid, NULL, 10);
    struct history *h;

    if (!v)
        return;
    h = v->history;
    pthread_mutex_lock(&h->lock);
    if (v->generation == h->generation && number > h->seen.xid)
        h->seen.xid = number;
    pthread_mutex_unlock(&h->lock);
}

void history_set_back(struct history *h, const char *cause)
{
    pthread_mutex_lock(&h->lock);
    set_back_locked(h, cause, 0);
    save(h);
    pthread_mutex_unlock(&h->lock);
}

void history_sync(struct history *h)
{
    if (fdatasync(h->fd) != 0)
        log_warning("what was seen of PostgreSQL can't be synced");
}

bool history_tell(struct history *h, struct history_rollback *out)
{
    bool told;

    pthread_mutex_lock(&h->lock);
    told = h->untold;
    *out = h->rollback;
    h->untold = false;
    pthread_mutex_unlock(&h->lock);
    return told;
}

void history_settled(struct history *h)
{
    pthread_mutex_lock(&h->lock);
    if (h->seen.pending) {
        h->seen.pending = false;
        save(h);
    }
    pthread_mutex_unlock(&h->lock);
}
