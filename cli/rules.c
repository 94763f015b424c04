/* rules.c: the configured rules against the catalogue */
#include "cli/rules.h"

#include <string.h>

#include "lib/meter/limit_table/limit_table.h"

/* True: it is all that there is, so that what is not in it does not exist. */
static bool read_catalogue(const struct config *config, struct limit_catalogue *c)
{
    struct limit_table *t;
    bool whole;

    if (limit_table_open(config->paths.run_dir, &t) != STATUS_OK) {
        memset(c, 0, sizeof(*c)); /* nobody knows which counters are counted */
        return false;
    }
    whole = limit_table_catalogue(t, c, NULL) == STATUS_OK && c->n_metrics > 0;
    if (!whole)
        memset(c, 0, sizeof(*c)); /* nobody knows which counters are counted */
    limit_table_close(t);
    return whole;
}

size_t rules_check(const struct config *c, const char *path, config_report *report, void *arg)
{
    struct limit_catalogue catalogue;
    bool whole = read_catalogue(c, &catalogue);
    size_t wrong = 0;
    char text[512];

    for (size_t i = 0; i < c->n_rules; i++) {
        const struct config_rule *r = &c->rules[i];
        int metric = limit_table_metric(&catalogue, r->metric, strlen(r->metric));

        if (metric < 0 ? !whole : limit_table_for_rules(&catalogue, metric))
            continue;
        snprintf(text, sizeof(text),
                 metric < 0
                     ? "%.100s:%d: rules: \"%s %.100s = %.100s\" names a metric that does not exist, so its calls "
                       "are refused; create the metric or remove the line"
                     : "%.100s:%d: rules: \"%s %.100s = %.100s\" names a metric that Tollgate counts itself, so the "
                       "gate leaves the rule out; remove the line",
                 path, r->line, r->method, r->path, r->metric);
        report(arg, text);
        wrong++;
    }
    return wrong;
}
