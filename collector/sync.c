/* sync.c: fdatasync of the spool at its interval, in a thread */
#include "collector/sync.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "collector/worker.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/meter/spool/spool.h"

#define LOG_AGAIN_US (30 * CLOCK_US_PER_SECOND)

struct sync {
    const char *dir;
    int64_t every_us; /* 0: there is no thread */
    int64_t logged_us;
    atomic_int_least64_t at; /* monotonic: when the last sync that was done began */
    struct worker worker;
};

/* A failure is tried again at the interval, as if it were none. */
static enum status sync_once(void *arg, int64_t *wait_us)
{
    struct sync *s = arg;
    int64_t began = clock_mono_us();
    enum status done = spool_sync(s->dir);

    if (done == STATUS_OK) {
        atomic_store(&s->at, began);
    } else if (s->logged_us == 0 || began - s->logged_us > LOG_AGAIN_US) {
        log_warning("the spool can't be synced: %s; trying again", status_text(done));
        s->logged_us = began;
    }
    *wait_us = began + s->every_us - clock_mono_us();
    return STATUS_OK;
}

enum status sync_create(const struct config *config, struct sync **out)
{
    struct sync *s = calloc(1, sizeof(*s));

    if (!s)
        return STATUS_NO_MEMORY;
    s->dir = config->paths.spool_dir;
    s->every_us = config->spool.sync == SPOOL_SYNC_INTERVAL ? config->spool.sync_ms * 1000 : 0;
    s->worker = (struct worker){.name = "sync", .once = sync_once, .arg = s};
    atomic_init(&s->at, clock_mono_us());
    if (s->every_us && worker_start(&s->worker) != STATUS_OK) {
        free(s);
        return STATUS_NO_MEMORY;
    }
    *out = s;
    return STATUS_OK;
}

void sync_destroy(struct sync *s)
{
    if (!s)
        return;
    worker_stop(&s->worker);
    while (!worker_join(&s->worker, CLOCK_US_PER_SECOND)) {
    }
    free(s);
}

int64_t sync_age_us(const struct sync *s)
{
    return s->every_us ? clock_mono_us() - atomic_load(&s->at) : -1;
}
