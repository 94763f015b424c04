/*
 * table_show.c: what a node's limit table holds, for tests: table_show RUN_DIR
 *
 * Prints a line for each tenant, limit and day or period in the tenant's ring, its fields separated by tabs: tenant, limit key,
 * "day" or "period", start of the window (microseconds since 1970, UTC), what is used of it (millionths).
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/meter/limit_table/limit_table.h"

static enum status show_tenant(struct limit_table *t, const struct limit_catalogue *c, uint32_t index)
{
    struct limit_tenant tenant;
    enum status s = limit_table_tenant(t, index, &tenant);

    for (uint32_t slot = 0; s == STATUS_OK && slot < c->n_limits; slot++) {
        bool day = c->limits[slot].window == LIMIT_WINDOW_DAY, period = c->limits[slot].window == LIMIT_WINDOW_PERIOD;
        const struct limit_span *spans = day ? tenant.days : tenant.periods;
        int n = day ? LIMIT_DAYS : period ? LIMIT_PERIODS : 0;

        for (int i = 0; s == STATUS_OK && i < n && spans[i].end_us; i++) {
            int64_t used = 0;
            s = limit_table_count(t, index, (uint8_t)slot, spans[i].start_us, &used);
            if (s == STATUS_NOT_FOUND) /* nothing was used of it */
                s = STATUS_OK;
            if (s == STATUS_OK)
                printf("%s\t%s\t%s\t%" PRId64 "\t%" PRId64 "\n", tenant.id, c->limits[slot].key, day ? "day" : "period",
                       spans[i].start_us, used);
        }
    }
    return s == STATUS_NOT_FOUND ? STATUS_OK : s; /* a place that was added to a tenant's */
}

int main(int argc, char *argv[])
{
    static struct limit_catalogue catalogue;
    struct limit_table *t = NULL;
    enum status s;

    if (argc != 2) {
        fputs("usage: table_show RUN_DIR\n", stderr);
        return 2;
    }
    s = limit_table_open(argv[1], &t);
    if (s == STATUS_OK)
        s = limit_table_catalogue(t, &catalogue, NULL);
    for (uint32_t i = 0; s == STATUS_OK && i < limit_table_tenants(t); i++)
        s = show_tenant(t, &catalogue, i);
    if (t)
        limit_table_close(t);
    if (s != STATUS_OK)
        fprintf(stderr, "table_show: %s\n", status_text(s));
    return s == STATUS_OK ? 0 : 1;
}
