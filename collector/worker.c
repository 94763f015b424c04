/* worker.c: a thread with pauses and a back-off */
#include "collector/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"

#define BACK_OFF_FIRST_US (CLOCK_US_PER_SECOND / 10)

static struct timespec timespec_of(int64_t us)
{
    return (struct timespec){us / CLOCK_US_PER_SECOND, us % CLOCK_US_PER_SECOND * 1000};
}

/* Longer with each failure, spread so that nodes do not come back together. */
static int64_t back_off(struct worker *w)
{
    int64_t most = BACK_OFF_FIRST_US << (w->failures < 6 ? w->failures : 6);

    if (most > w->back_off_most_us)
        most = w->back_off_most_us;
    w->failures++;
    return most / 2 + random() % (most / 2);
}

/* Sleeps; false when it is time to end. */
static bool nap(struct worker *w, int64_t us)
{
    int64_t until = clock_mono_us() + us;
    struct timespec t = timespec_of(until);
    bool stopping;

    pthread_mutex_lock(&w->lock);
    while (!w->stopping && clock_mono_us() < until)
        pthread_cond_timedwait(&w->changed, &w->lock, &t);
    stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return !stopping;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    enum status s;
    int64_t wait;

    do {
        wait = 0;
        s = w->once(w->arg, &wait);
        if (s == STATUS_OK)
            w->failures = 0;
        else
            wait = back_off(w);
    } while (s != STATUS_FENCED && nap(w, wait));
    if (w->ended)
        w->ended(w->ended_arg, s);
    pthread_mutex_lock(&w->lock);
    w->ran_out = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

enum status worker_start(struct worker *w)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->running = pthread_create(&w->thread, NULL, run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w->running ? STATUS_OK : STATUS_NO_MEMORY;
}

void worker_stop(struct worker *w)
{
    if (!w->running)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool worker_join(struct worker *w, int64_t most_us)
{
    int64_t until = clock_mono_us() + most_us;
    struct timespec t = timespec_of(until);
    bool ran_out;

    if (!w->running)
        return true;
    pthread_mutex_lock(&w->lock);
    while (!w->ran_out && clock_mono_us() < until)
        pthread_cond_timedwait(&w->changed, &w->lock, &t);
    ran_out = w->ran_out;
    pthread_mutex_unlock(&w->lock);
    if (ran_out && pthread_join(w->thread, NULL) == 0)
        w->running = false;
    return !w->running;
}
