/* cmd_metric.c: tollgate metric: the catalogue of what is counted */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/metrics.h"

static const struct table_column columns[] = {
    {"metric_type", "type", TABLE_TEXT},   {"kind", "kind", TABLE_TEXT},
    {"unit", "unit", TABLE_TEXT},          {"label", "label", TABLE_TEXT},
    {"limit_keys", "limits", TABLE_TEXT},  {"limit_window", "window", TABLE_TEXT},
    {"derived", "derived", TABLE_BOOLEAN}, {0},
};

static enum status read_values(int argc, char *argv[], const char **type, struct metric_values *v)
{
    const struct cli_option options[] = {
        {"kind", &v->kind, NULL},       {"unit", &v->unit, NULL},     {"label", &v->label, NULL},
        {"limit", &v->limit_key, NULL}, {"window", &v->window, NULL}, {0},
    };

    return cli_parse(argc, argv, options, type, 1, 1);
}

int cmd_metric_create(struct cli *c, int argc, char *argv[])
{
    struct metric_values v = {0};
    char full[CAPACITY_TEXT] = "";
    const char *type;
    enum status s;

    if (read_values(argc, argv, &type, &v))
        return CLI_USAGE;
    if (!v.kind || !v.unit || !v.label || (strcmp(v.kind, "counter") != 0 && strcmp(v.kind, "gauge") != 0)) {
        cli_say("say --kind counter or --kind gauge, --unit and --label");
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
    if (v.kind || v.limit_key || v.window) {
        cli_say("a metric's kind, limit and window can't be changed; only --unit and --label can");
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
    snprintf(what, sizeof(what), "The metric %.100s and its limit will be removed.", type);
    if (!cli_confirm(c, what, type))
        return CLI_REFUSED;
    if (cli_begin(c))
        return CLI_FAILED;
    s = metrics_remove(c->db, type);
    if (s == STATUS_DENIED)
        cli_say("%s has usage or is one of Tollgate's own, so it was not removed", type);
    return cli_end(c, s, type, "The metric was removed.", type);
}
