/* chores.c: the collector's periodic work */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/store/maintenance.h"
#include "lib/store/node.h"
#include "lib/store/retention.h"

#define SECOND CLOCK_US_PER_SECOND
#define TURN_US (900 * SECOND) /* no tenant's midnight lies within a quarter of an hour */
#define TURN_STEP_US (SECOND / 20)
#define CHORES_US (3600 * SECOND)
#define ATTACH_US (30 * SECOND)

/* When the wall clock next reaches a quarter of an hour, on the monotonic one. */
static int64_t next_turn(int64_t now)
{
    return now + TURN_US - clock_wall_us() % TURN_US + SECOND / 10;
}

/* Tables that the host made since. One that can't be had is logged when it is another than before: it is tried each time. */
static void attach_new(struct collector *c, int64_t now)
{
    char left_out[256];
    enum status s;

    if (now < c->due.attach)
        return;
    c->due.attach = now + ATTACH_US;
    if ((s = maintenance_attach_new(ingest_db(c->ingest), left_out)) != STATUS_OK) {
        status_failed(c, "attaching new tables", s, ingest_error(c->ingest));
        return;
    }
    if (left_out[0] != '\0' && strcmp(left_out, c->left_out) != 0)
        log_warning(
            "tenant %s: its tables are locked or out of reach, so its patients and appointments are not counted; "
            "tollgate_owner needs USAGE on its schema, SELECT and TRIGGER on both",
            left_out);
    snprintf(c->left_out, sizeof(c->left_out), "%s", left_out);
}

/* Midnights, a few tenants at a time: what changes meanwhile is followed between. */
static void turn(struct collector *c, int64_t now)
{
    enum status s;

    if (!c->turned[0])
        c->due.next_turn = next_turn(now);
    do
        s = maintenance_rollover(ingest_db(c->ingest), c->turned);
    while (s == STATUS_OK && c->turned[0] && clock_mono_us() - now < TURN_STEP_US);
    if (s != STATUS_OK) {
        c->due.turn = now + SECOND;
        status_failed(c, "turning the day", s, ingest_error(c->ingest));
        return;
    }
    if (!c->turned[0]) {
        c->due.turn = c->due.next_turn;
        c->due.renew = 0;
    }
}

/* Partitions ahead, and what is no longer kept; each on its own. */
static void hourly(struct collector *c)
{
    struct db *d = ingest_db(c->ingest);
    const struct retention_keep keep = {.row_months = (int)c->config->collector.retention_months,
                                        .session_absolute_s = c->config->web.session_absolute_s};
    enum status s = maintenance_partitions(d, (int)c->config->collector.partitions_ahead);
    char what[64];

    if (s != STATUS_OK)
        status_failed(c, "making partitions", s, db_error(d));
    for (size_t item = 0; item < retention_count(); item++) {
        bool more = true;

        while (more && (s = retention_slice(d, item, &keep, &more)) == STATUS_OK) {
        }
        snprintf(what, sizeof(what), "removing old %s", retention_name(item));
        if (s != STATUS_OK)
            status_failed(c, what, s, db_error(d));
    }
}

void chores_run(struct collector *c, int64_t now)
{
    enum status s = STATUS_OK;

    if (now >= c->due.turn)
        turn(c, now);
    if (now >= c->due.chores) {
        c->due.chores = now + CHORES_US;
        hourly(c);
    }
    if (now >= c->due.report) {
        struct batch_lag lag;

        c->due.report = now + 2 * SECOND;
        batch_lag(c->batch, &lag);
        s = node_report(ingest_db(c->ingest), &c->node, lag.events,
                        lag.oldest_us ? (double)(clock_wall_us() - lag.oldest_us) / 1e6 : 0, lag.spool_bytes);
        if (s != STATUS_OK)
            status_failed(c, "reporting", s, ingest_error(c->ingest));
        else if ((s = maintenance_expire_limits(ingest_db(c->ingest))) != STATUS_OK)
            status_failed(c, "ending overrides", s, ingest_error(c->ingest));
    }
    samples_run(c, now);
    attach_new(c, now);
    measure_run(c, now);
}

void chores_reserve(struct collector *c, bool give_back)
{
    uint64_t bytes = (uint64_t)c->config->spool.reserve_bytes;
    char path[4096];
    struct statvfs fs;
    struct stat st;
    int fd;

    if (bytes == 0 || io_path(path, sizeof(path), c->config->paths.spool_dir, "reserve") != STATUS_OK)
        return;
    if (give_back) {
        if (unlink(path) == 0)
            log_warning("the disk is full: gave back the reserve of %llu bytes", (unsigned long long)bytes);
        return;
    }
    if ((stat(path, &st) == 0 && (uint64_t)st.st_size >= bytes) || statvfs(c->config->paths.spool_dir, &fs) != 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize < 3 * bytes)
        return;
    if ((fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
        return;
    if (posix_fallocate(fd, 0, (off_t)bytes) != 0)
        unlink(path);
    close(fd);
}
