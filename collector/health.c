/* health.c: what each worker and each job did last */
#include "collector/health.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define LOG_AGAIN_US (30 * CLOCK_US_PER_SECOND)

void health_init(struct health *h)
{
    memset(h, 0, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    h->started_us = clock_wall_us();
    h->parts[HEALTH_IMPORT].name = "import";
    h->parts[HEALTH_REPLICATE].name = "replicate";
    h->parts[HEALTH_JOBS].name = "jobs";
    h->n_parts = HEALTH_WORKERS;
}

void health_term(struct health *h)
{
    pthread_mutex_destroy(&h->lock);
}

int health_add(struct health *h, const char *name)
{
    int part = HEALTH_PARTS - 1; /* one more than there is room for shares the last line */

    pthread_mutex_lock(&h->lock);
    if (h->n_parts < HEALTH_PARTS)
        part = (int)h->n_parts++;
    h->parts[part].name = name;
    pthread_mutex_unlock(&h->lock);
    return part;
}

void health_began(struct health *h, int part)
{
    pthread_mutex_lock(&h->lock);
    h->parts[part].began_us = clock_wall_us();
    pthread_mutex_unlock(&h->lock);
}

/* With the lock. */
static void ended(struct health_part *p)
{
    int64_t now = clock_wall_us();

    if (p->began_us)
        p->took_us = now - p->began_us;
    p->began_us = 0;
}

void health_rested(struct health *h, int part)
{
    pthread_mutex_lock(&h->lock);
    ended(&h->parts[part]);
    pthread_mutex_unlock(&h->lock);
}

void health_worked(struct health *h, int part)
{
    struct health_part *p = &h->parts[part];
    bool back;

    pthread_mutex_lock(&h->lock);
    ended(p);
    back = p->unavailable;
    p->failing = p->unavailable = false;
    p->since_us = 0;
    p->done_us = clock_wall_us();
    p->done++;
    pthread_mutex_unlock(&h->lock);
    if (back)
        log_info("%s: PostgreSQL is back", p->name);
}

static void failed(struct health *h, int part, const char *text, bool unavailable, bool overran)
{
    struct health_part *p = &h->parts[part];
    int64_t now = clock_mono_us();
    bool news;

    pthread_mutex_lock(&h->lock);
    ended(p);
    news = strcmp(text, p->error) != 0 || now - p->logged_us > LOG_AGAIN_US;
    if (news)
        p->logged_us = now;
    snprintf(p->error, sizeof(p->error), "%s", text);
    p->error_us = clock_wall_us();
    if (!p->failing)
        p->since_us = p->error_us;
    p->failing = true;
    p->unavailable = unavailable;
    p->failed++;
    p->overran += overran;
    pthread_mutex_unlock(&h->lock);
    if (news)
        log_warning("%s: %s; trying again", p->name, text);
}

void health_failed(struct health *h, int part, const char *what, enum status s, const char *why)
{
    char text[sizeof(h->parts[part].error)];

    snprintf(text, sizeof(text), "%s%s%s%s%s", what, what[0] ? ": " : "", why[0] ? why : status_text(s),
             why[0] ? " - " : "", why[0] ? status_text(s) : "");
    failed(h, part, text, s == STATUS_UNAVAILABLE, false);
}

void health_overran(struct health *h, int part, int64_t deadline_us)
{
    char text[sizeof(h->parts[part].error)];

    snprintf(text, sizeof(text), "took longer than the %.1f s that it may", (double)deadline_us / 1e6);
    failed(h, part, text, false, true);
}

void health_behind(struct health *h, int part, uint64_t n)
{
    pthread_mutex_lock(&h->lock);
    h->parts[part].behind = n;
    pthread_mutex_unlock(&h->lock);
}

double health_lag_seconds(const struct batch_lag *lag)
{
    return lag->oldest_us ? (double)(clock_wall_us() - lag->oldest_us) / 1e6 : 0;
}

/* With the lock. */
static void note_worst(struct health *h)
{
    double seconds = health_lag_seconds(&h->lag);

    if (seconds > h->worst.lag_seconds)
        h->worst.lag_seconds = seconds;
    if (h->lag.events > h->worst.events)
        h->worst.events = h->lag.events;
    if (h->lag.spool_bytes > h->worst.bytes)
        h->worst.bytes = h->lag.spool_bytes;
}

void health_import(struct health *h, const struct health_counts *counts, const struct batch_lag *lag)
{
    pthread_mutex_lock(&h->lock);
    note_worst(h);
    h->counts = *counts;
    h->lag = *lag;
    h->parts[HEALTH_IMPORT].behind = lag->events;
    note_worst(h);
    pthread_mutex_unlock(&h->lock);
}

void health_counts(struct health *h, struct health_counts *out, struct batch_lag *lag)
{
    pthread_mutex_lock(&h->lock);
    if (out)
        *out = h->counts;
    *lag = h->lag;
    pthread_mutex_unlock(&h->lock);
}

void health_worst(struct health *h, struct health_worst *out)
{
    pthread_mutex_lock(&h->lock);
    note_worst(h);
    *out = h->worst;
    pthread_mutex_unlock(&h->lock);
}

void health_forget_worst(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    memset(&h->worst, 0, sizeof(h->worst));
    pthread_mutex_unlock(&h->lock);
}
