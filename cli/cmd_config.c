/* cmd_config.c: tollgate config: the reference of the configuration */
#include <stdio.h>

#include "cli/cli.h"

int cmd_config(struct cli *c, int argc, char *argv[])
{
    bool sample = false;
    const struct cli_option options[] = {{"sample", NULL, &sample}, {0}};

    (void)c;
    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if (sample)
        config_print_sample(stdout);
    else
        config_print_reference(stdout);
    return CLI_OK;
}
