/* sync.c: fdatasync of the spool at its interval, in a thread */
#include "collector/sync.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/meter/spool/spool.h"

#define LOG_AGAIN_US (30 * CLOCK_US_PER_SECOND)

struct sync {
    const char *dir;
    int64_t every_us; /* 0: there is no thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;           /* under the lock */
    atomic_int_least64_t at; /* monotonic: when the last sync that was done began */
};

/* Waits until `at` by the monotonic clock; false when it is time to end. */
static bool wait_until(struct sync *s, int64_t at)
{
    struct timespec t = {at / CLOCK_US_PER_SECOND, at % CLOCK_US_PER_SECOND * 1000};
    bool stopping;

    pthread_mutex_lock(&s->lock);
    while (!s->stopping && clock_mono_us() < at)
        pthread_cond_timedwait(&s->changed, &s->lock, &t);
    stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return !stopping;
}

static void *run(void *arg)
{
    struct sync *s = arg;
    int64_t logged_us = 0, began;

    do {
        began = clock_mono_us();
        enum status done = spool_sync(s->dir);

        if (done == STATUS_OK) {
            atomic_store(&s->at, began);
        } else if (logged_us == 0 || began - logged_us > LOG_AGAIN_US) {
            log_warning("the spool can't be synced: %s; trying again", status_text(done));
            logged_us = began;
        }
    } while (wait_until(s, began + s->every_us));
    return NULL;
}

/* Starts the thread with every signal blocked. */
static enum status start(struct sync *s)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status sync_create(const struct config *config, struct sync **out)
{
    struct sync *s = calloc(1, sizeof(*s));
    pthread_condattr_t monotonic;

    if (!s)
        return STATUS_NO_MEMORY;
    s->dir = config->paths.spool_dir;
    atomic_init(&s->at, clock_mono_us());
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (config->spool.sync == SPOOL_SYNC_INTERVAL) {
        s->every_us = config->spool.sync_ms * 1000;
        if (start(s) != STATUS_OK) {
            s->every_us = 0;
            sync_destroy(s);
            return STATUS_NO_MEMORY;
        }
    }
    *out = s;
    return STATUS_OK;
}

void sync_destroy(struct sync *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->every_us)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int64_t sync_age_us(const struct sync *s)
{
    return s->every_us ? clock_mono_us() - atomic_load(&s->at) : -1;
}
