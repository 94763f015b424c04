/* cmd_metric.c: tollgate metric: the catalogue of what is counted */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/metrics.h"

static const struct table_column columns[] = {
    {"metric_type", "type", TABLE_TEXT},
    {"kind", "kind", TABLE_TEXT},
    {"unit", "unit", TABLE_TEXT},
    {"label", "label", TABLE_TEXT},
    {"limit_keys", "limits", TABLE_TEXT},
    {"limit_window", "window", TABLE_TEXT},
    {"derived", "derived", TABLE_BOOLEAN},
    {"aggregation", "aggregation", TABLE_TEXT},
    {"field", "field", TABLE_TEXT},
    {"plural", "plural", TABLE_TEXT},
    {"decimals", "decimals", TABLE_TEXT},
    {"source", "source", TABLE_TEXT},
    {0},
};

static enum status read_values(int argc, char *argv[], const char **type, struct metric_values *v)
{
    const struct cli_option options[] = {
        {"kind", &v->kind, NULL},
        {"aggregation", &v->aggregation, NULL},
        {"field", &v->field, NULL},
        {"unit", &v->unit, NULL},
        {"plural", &v->plural, NULL},
        {"decimals", &v->decimals, NULL},
        {"label", &v->label, NULL},
        {"limit", &v->limit_key, NULL},
        {"window", &v->window, NULL},
        {"from", &v->source.table, NULL},
        {"tenant-column", &v->source.tenant_column, NULL},
        {"where", &v->source.where, NULL},
        {"value", &v->source.value, NULL},
        {"records", &v->source.records, NULL},
        {0},
    };

    return cli_parse(argc, argv, options, type, 1, 1);
}

static bool one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(word, *words) != 0)
        words++;
    return *words;
}

/* What the catalogue would refuse, said in words; NULL: nothing. */
static const char *problem(const struct metric_values *v)
{
    static const char *const kinds[] = {"counter", "gauge", NULL}, *const levels[] = {"none", NULL},
                             *const observed[] = {"hour", "day", "week", "period", NULL},
                             *const windows[] = {"minute", "hour", "day", "week", "period", "none", NULL},
                             *const aggregations[] = {"count", "sum", "level", "max", "unique", NULL},
                             *const decimals[] = {"0", "1", "2", "3", "4", "5", "6", NULL};
    bool level = v->aggregation ? strcmp(v->aggregation, "level") == 0 : v->kind && strcmp(v->kind, "gauge") == 0;
    bool unique = v->aggregation && strcmp(v->aggregation, "unique") == 0;
    bool watched = unique || (v->aggregation && strcmp(v->aggregation, "max") == 0);

    if ((!v->kind && !v->aggregation) || (!v->source.table && (!v->unit || !v->label)) ||
        (v->kind && !one_of(v->kind, kinds)) || (v->aggregation && !one_of(v->aggregation, aggregations)))
        return "say --kind counter or --kind gauge, or --aggregation count, sum, level, max or unique; --unit and --label "
               "(which a gauge with --from may leave out)";
    if (v->kind && v->aggregation && (watched || level != (strcmp(v->kind, "gauge") == 0)))
        return "a counter is of aggregation count or sum, a gauge of level; max and unique have no --kind";
    if (unique ? !v->field : v->field && !watched)
        return "--field names the member of an event's metadata that unique counts, or whose largest value max is";
    if (v->decimals && !one_of(v->decimals, decimals))
        return "--decimals is a number from 0 to 6";
    if (v->window && !one_of(v->window, level ? levels : watched ? observed : windows))
        return level     ? "a level has no window"
               : watched ? "the window of a limit on max or unique is hour, day, week or period"
                         : "a window is minute, hour, day, week or period";
    return NULL;
}

int cmd_metric_limit(struct cli *c, int argc, char *argv[])
{
    static const char *const windows[] = {"minute", "hour", "day", "week", "period", "none", NULL};
    const char *names[2] = {NULL, NULL}, *window = NULL, *label = NULL;
    const struct cli_option options[] = {{"window", &window, NULL}, {"label", &label, NULL}, {0}};
    char full[CAPACITY_TEXT] = "";
    enum status s;

    if (cli_parse(argc, argv, options, names, 2, 2))
        return CLI_USAGE;
    if (!window || !label || !one_of(window, windows)) {
        cli_say("say --window minute, hour, day, week, period or none, and --label");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    s = metrics_add_limit(c->db, names[0], names[1], window, label, full);
    if (s == STATUS_LIMIT)
        cli_say("%s", full);
    if (s == STATUS_INVALID)
        cli_say(
            "a level has a limit of window none, a counter one of any other, and max and unique have none of a minute");
    return cli_end(c, s, names[1], "The limit was added.", names[1]);
}

int cmd_metric_create(struct cli *c, int argc, char *argv[])
{
    const char *wrong;
    struct metric_values v = {0};
    char full[CAPACITY_TEXT] = "";
    const char *type;
    enum status s;

    if (read_values(argc, argv, &type, &v))
        return CLI_USAGE;
    if ((wrong = problem(&v))) {
        cli_say("%s", wrong);
        return CLI_USAGE;
    }
    if (!*type || strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(type) || strlen(type) > 100) {
        cli_say("a metric's type has 1 to 100 of a-z, 0-9 and _");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    s = metrics_create(c->db, type, &v, full);
    if (s == STATUS_LIMIT)
        cli_say("%s", full);
    return cli_end(c, s, "the metric was not created", "The metric was created.", type);
}

int cmd_metric_list(struct cli *c, int argc, char *argv[])
{
    return cli_list(c, argc, argv, metrics_list, columns, "the metrics can't be listed");
}

int cmd_metric_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, metrics_show, columns);
}

int cmd_metric_change(struct cli *c, int argc, char *argv[])
{
    struct metric_values v = {0};
    const char *type;

    if (read_values(argc, argv, &type, &v))
        return CLI_USAGE;
    if (v.kind || v.aggregation || v.field || v.limit_key || v.window) {
        cli_say(
            "a metric's kind, limit and window can't be changed; only --unit, --plural, --decimals, --label and what it "
            "is counted from can");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, metrics_change(c->db, type, &v), type, "The metric was changed.", type);
}

int cmd_metric_remove(struct cli *c, int argc, char *argv[])
{
    char what[512];
    const char *type;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &type, 1, 1))
        return CLI_USAGE;
    snprintf(
        what, sizeof(what),
        "The metric %.100s and its limit will be removed, with its triggers and all that was counted from a table.",
        type);
    if (!cli_confirm(c, what, type))
        return CLI_REFUSED;
    if (cli_begin(c))
        return CLI_FAILED;
    s = metrics_remove(c->db, type);
    if (s == STATUS_DENIED)
        cli_say("%s has usage or is one of Tollgate's own, so it was not removed", type);
    return cli_end(c, s, type, "The metric was removed.", type);
}
