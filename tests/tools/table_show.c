/*
 * table_show.c: what a node's limit table holds, for tests: table_show RUN_DIR
 *
 * Prints a line for each tenant, limit and day, week or period in the tenant's ring, and this hour and the two before, its fields
 * separated by tabs: tenant, limit key, "hour", "day", "week" or "period", start of the window (microseconds since 1970, UTC), what is
 * used of it (millionths).
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/meter/limit_table/limit_table.h"

static const char *const window_names[LIMIT_WINDOWS] = {[LIMIT_WINDOW_HOUR] = "hour",
                                                        [LIMIT_WINDOW_DAY] = "day",
                                                        [LIMIT_WINDOW_WEEK] = "week",
                                                        [LIMIT_WINDOW_PERIOD] = "period"};

static enum status show_count(struct limit_table *t, const struct limit_catalogue *c, const char *tenant,
                              uint32_t index, uint8_t slot, int64_t start_us)
{
    int64_t used = 0;
    enum status s = limit_table_count(t, index, slot, start_us, &used);

    if (s == STATUS_NOT_FOUND) /* nothing was used of it */
        s = STATUS_OK;
    if (s == STATUS_OK)
        printf("%s\t%s\t%s\t%" PRId64 "\t%" PRId64 "\n", tenant, c->limits[slot].key,
               window_names[c->limits[slot].window], start_us, used);
    return s;
}

static enum status show_tenant(struct limit_table *t, const struct limit_catalogue *c, uint32_t index)
{
    struct limit_tenant tenant;
    struct limit_span hour;
    enum status s = limit_table_tenant(t, index, &tenant);

    for (uint8_t slot = 0; s == STATUS_OK && slot < c->n_limits; slot++) {
        uint8_t window = c->limits[slot].window;
        const struct limit_span *spans = window == LIMIT_WINDOW_DAY    ? tenant.days
                                         : window == LIMIT_WINDOW_WEEK ? tenant.weeks
                                                                       : tenant.periods;
        int n = window == LIMIT_WINDOW_DAY      ? LIMIT_DAYS
                : window == LIMIT_WINDOW_WEEK   ? LIMIT_WEEKS
                : window == LIMIT_WINDOW_PERIOD ? LIMIT_PERIODS
                                                : 0;

        for (int i = 0; s == STATUS_OK && i < n && spans[i].end_us; i++)
            s = show_count(t, c, tenant.id, index, slot, spans[i].start_us);
        for (int i = -2; s == STATUS_OK && window == LIMIT_WINDOW_HOUR && i <= 0; i++)
            if (limit_table_window(&tenant, window, clock_wall_us() + i * 3600 * CLOCK_US_PER_SECOND, &hour))
                s = show_count(t, c, tenant.id, index, slot, hour.start_us);
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
