/* measure.c: tenants' storage, at an interval and when asked */
#include <stdio.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/store/places.h"

#define AT_A_TIME 8 /* tenants measured between two batches */
#define STEP_US (CLOCK_US_PER_SECOND / 10)

static enum status measure(struct collector *c, const struct place *p)
{
    int64_t bytes;
    enum status s = c->storage->measure(c->config->storage.dir, p->path, c->stopped, &bytes);

    if (s != STATUS_OK) {
        if (s != STATUS_END)
            log_warning("storage of %s can't be measured below %s: %s", p->tenant, c->config->storage.dir,
                        status_text(s));
        return STATUS_OK;
    }
    return places_put(ingest_db(c->ingest), p->tenant, bytes);
}

void measure_run(struct collector *c, int64_t now)
{
    struct place *list;
    size_t n;
    enum status s;

    if (!c->storage || !c->config->storage.dir[0] || now < c->due.measure || now < c->due.measure_step)
        return;
    c->due.measure_step = now + STEP_US;
    if ((s = places_list(ingest_db(c->ingest), c->measured, AT_A_TIME, &list, &n)) != STATUS_OK) {
        status_failed(c, "measuring storage", s, ingest_error(c->ingest));
        return;
    }
    for (size_t i = 0; i < n && s == STATUS_OK && !c->stopped(); i++) {
        s = measure(c, &list[i]);
        snprintf(c->measured, sizeof(c->measured), "%s", list[i].tenant);
    }
    if (n < AT_A_TIME) { /* the round is done */
        c->measured[0] = '\0';
        c->due.measure = now + c->config->storage.interval_s * CLOCK_US_PER_SECOND;
    }
    places_free(list, n);
}

void measure_now(struct collector *c, const char *tenant)
{
    struct place *list;
    size_t n;
    enum status s;

    if (!c->storage || !c->config->storage.dir[0] || places_of(ingest_db(c->ingest), tenant, &list, &n) != STATUS_OK)
        return;
    s = n ? measure(c, &list[0]) : STATUS_OK;
    if (s != STATUS_OK)
        status_failed(c, "measuring storage", s, ingest_error(c->ingest));
    c->due.changes = 0;
    places_free(list, n);
}
