/* storage.c: tenants' storage, at an interval and when asked; walks stop at the job's deadline and go on at its next turn */
#include "lib/remote/storage.h"

#include <stdio.h>

#include "collector/jobs.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define AT_A_TIME 64 /* tenants that are asked for in a statement */

struct patience {
    const struct collector *c;
    int64_t until;
};

static bool out_of_patience(void *arg)
{
    const struct patience *p = arg;

    return p->c->stopped() || clock_mono_us() >= p->until;
}

static void forget_places(struct storage_round *r)
{
    if (r->places)
        places_free(r->places, r->n);
    r->places = NULL;
    r->n = r->at = 0;
}

void jobs_storage_end(struct storage_round *r)
{
    if (r->storage)
        r->storage->end(r->walk);
    r->walk = NULL;
    forget_places(r);
}

static void leave(struct storage_round *r)
{
    r->storage->end(r->walk);
    r->walk = NULL;
    r->at++;
}

/* The tenant whose turn it is. STATUS_END: the deadline is there. One that can't be measured is logged and left. */
static enum status measure(struct jobs *j, struct storage_round *r, int64_t until)
{
    struct patience patience = {j->c, until};
    const struct place *p = &r->places[r->at];
    const char *dir = j->c->config->storage.dir;
    int64_t bytes = 0;
    enum status s = r->walk ? STATUS_OK : r->storage->begin(dir, p->path, &r->walk);

    if (s == STATUS_OK)
        s = r->storage->go_on(r->walk, out_of_patience, &patience, &bytes);
    if (s == STATUS_END)
        return s;
    if (s != STATUS_OK)
        log_warning("storage of %s can't be measured below %s: %s", p->tenant, dir, status_text(s));
    else if ((s = places_put(j->db, p->tenant, bytes)) == STATUS_UNAVAILABLE)
        return s; /* measured again when it is back */
    leave(r);
    return s == STATUS_IO || s == STATUS_INVALID ? STATUS_OK : s;
}

/* Those in hand; *more: some are left. */
static enum status measure_places(struct jobs *j, struct storage_round *r, int64_t until, bool *more)
{
    enum status s = STATUS_OK;

    while (s == STATUS_OK && r->at < r->n) {
        s = measure(j, r, until);
        if (clock_mono_us() >= until && s == STATUS_OK)
            s = STATUS_END;
    }
    *more = r->at < r->n;
    if (!*more)
        forget_places(r);
    return s == STATUS_END ? STATUS_OK : s;
}

static bool is_configured(const struct jobs *j)
{
    return j->round.storage && j->c->config->storage.dir[0];
}

enum status jobs_storage(struct jobs *j, int64_t until, bool *more)
{
    struct storage_round *r = &j->round;
    bool last = false;
    enum status s = STATUS_OK;

    if (!is_configured(j))
        return STATUS_OK;
    if (!r->places) {
        if ((s = places_list(j->db, r->measured, AT_A_TIME, &r->places, &r->n)) != STATUS_OK)
            return s;
        if (r->places && r->n > 0)
            snprintf(r->measured, sizeof(r->measured), "%s", r->places[r->n - 1].tenant);
    }
    last = r->n < AT_A_TIME;
    s = measure_places(j, r, until, more);
    if (s == STATUS_OK && !*more && last)
        r->measured[0] = '\0'; /* the round is over */
    else
        *more = true;
    return s;
}

enum status jobs_storage_asked(struct jobs *j, int64_t until, bool *more)
{
    struct storage_round *r = &j->asked;
    char tenant[INBOX_NAME_SIZE];
    enum status s = STATUS_OK;

    if (!is_configured(j))
        return STATUS_OK;
    do {
        if (!r->places && !inbox_take(j->c->to_measure, tenant))
            return STATUS_OK;
        if (!r->places)
            s = places_of(j->db, tenant, &r->places, &r->n);
        if (s == STATUS_UNAVAILABLE)
            inbox_put(j->c->to_measure, tenant);
        if (s == STATUS_OK)
            s = measure_places(j, r, until, more);
        if (s == STATUS_NOT_FOUND)
            s = STATUS_OK;
    } while (s == STATUS_OK && !*more && clock_mono_us() < until);
    *more = true;
    return s;
}
