/* refusals.c: what the gates refused, from the limit table to PostgreSQL */
#include "lib/store/refusals.h"

#include <stdlib.h>
#include <string.h>

#include "collector/jobs.h"
#include "lib/base/clock.h"

/* What was read of the table in one go; the keys and ids are copies. */
struct found {
    uint64_t table;
    size_t n;
    struct limit_refusal list[4 * LIMIT_REFUSALS_ROOM];
    struct refusal named[4 * LIMIT_REFUSALS_ROOM];
    char tenants[4 * LIMIT_REFUSALS_ROOM][LIMIT_TENANT_SIZE];
    struct limit_catalogue catalogue;
};

/* Names what was found; with the lock. */
static void name_locked(struct limit_table *t, struct found *f)
{
    struct limit_tenant tenant;
    const char *id = NULL;
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (i == 0 || f->list[i].tenant != f->list[i - 1].tenant) {
            id = NULL;
            if (limit_table_tenant(t, f->list[i].tenant, &tenant) == STATUS_OK)
                id = memcpy(f->tenants[n], tenant.id, sizeof(tenant.id));
        }
        if (id && f->list[i].slot < f->catalogue.n_limits)
            f->named[n++] = (struct refusal){id, f->catalogue.limits[f->list[i].slot].key, f->list[i].hour_us,
                                             f->list[i].refused};
    }
    f->n = n;
}

/* STATUS_END: there is no table. */
static enum status read_some(struct jobs *j, struct found *f)
{
    struct limit_table *t;
    enum status s = STATUS_END;

    f->n = 0;
    if ((t = replica_lock(&j->c->replica))) {
        f->table = limit_table_id(t);
        if (f->table != j->refusals.table) { /* nothing of it was read yet */
            j->refusals.table = f->table;
            j->refusals.all = true;
            j->refusals.next = 0;
        }
        s = limit_table_catalogue(t, &f->catalogue, NULL);
        if (s == STATUS_OK)
            s = limit_table_refusals(t, j->refusals.all, &j->refusals.next, f->list,
                                     sizeof(f->list) / sizeof(f->list[0]), &f->n);
        if (s == STATUS_OK)
            name_locked(t, f);
    }
    replica_unlock(&j->c->replica);
    return s;
}

/*
 * What could not be put is read again, with all that the table holds: it has the last two hours of each limit in which something was
 * refused.
 */
enum status jobs_refusals(struct jobs *j, int64_t until, bool *more)
{
    struct found *f = malloc(sizeof(*f));
    enum status s;

    if (!f)
        return STATUS_NO_MEMORY;
    do {
        s = read_some(j, f);
        if (s == STATUS_OK && f->n > 0)
            s = refusals_put(j->db, f->table, f->named, f->n);
        *more = s == STATUS_OK && j->refusals.next != 0;
    } while (*more && clock_mono_us() < until);
    if (s == STATUS_OK && !*more)
        j->refusals.all = false;
    if (s != STATUS_OK && s != STATUS_END) {
        j->refusals.all = true;
        j->refusals.next = 0;
    }
    free(f);
    return s;
}
