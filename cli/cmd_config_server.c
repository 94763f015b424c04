/* cmd_config_server.c: tollgate config lighttpd, apache, nginx: the web server's configuration on standard output */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/server_conf.h"

static int print_conf(struct cli *c, const struct server_conf *s)
{
    struct buffer out;
    char problem[512];
    enum status status;

    buffer_init(&out, 0);
    status = server_conf_render(s, c->config, config_path(c->config_path), &out, problem);
    if (status != STATUS_OK)
        cli_say("%s", problem);
    else if (fwrite(out.data, 1, out.length, stdout) != out.length || fflush(stdout) != 0)
        status = STATUS_IO;
    buffer_term(&out);
    return status == STATUS_OK ? CLI_OK : status == STATUS_INVALID ? CLI_USAGE : CLI_FAILED;
}

/* The server is the command's own name. */
int cmd_config_server(struct cli *c, int argc, char *argv[])
{
    const char *part = "", *server = argv[0];
    bool parts = false;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &part, 0, 1))
        return CLI_USAGE;
    if (!part)
        part = "";
    for (size_t i = 0; i < server_n_confs; i++) {
        const struct server_conf *s = &server_confs[i];

        if (strcmp(s->server, server) == 0 && strcmp(s->part, part) == 0)
            return print_conf(c, s);
        parts = parts || (strcmp(s->server, server) == 0 && *s->part);
    }
    if (!parts)
        cli_say("%s has one configuration: `tollgate config %s`", server, server);
    for (size_t i = 0; parts && i < server_n_confs; i++)
        if (strcmp(server_confs[i].server, server) == 0)
            cli_say("`tollgate config %s %s` is the part for %s", server, server_confs[i].part,
                    server_confs[i].installed);
    return CLI_USAGE;
}
