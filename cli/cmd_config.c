/* cmd_config.c: tollgate config: the reference of the configuration */
#include <stdio.h>

#include "cli/cli.h"

int cmd_config(struct cli *c, int argc, char *argv[])
{
    (void)c;
    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, NULL, 0, 0))
        return CLI_USAGE;
    config_print_reference(stdout);
    return CLI_OK;
}
