/* main.c: tollgate-gate, the FastCGI authorizer: boot, then one call after another */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "cgi/gate/gate.h"
#include "lib/base/arguments.h"
#include "lib/base/config.h"
#include "lib/base/fastcgi.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/meter/limit_table/limit_table.h"

static const char usage[] =
    "usage: tollgate-gate [--config FILE] [--ready] | --version\n"
    "The FastCGI authorizer: answers the web server whether a call may pass, and records it.\n"
    "FILE is $TOLLGATE_CONF or /etc/tollgate/tollgate.conf unless given.\n"
    "  --ready  only tells by the exit status whether the limit table of this version is there\n";

/* One process's life: calls until it is told to stop. */
static int serve(int listener, void *arg)
{
    const struct config *config = arg;
    struct gate *gate = NULL;
    struct answer answer;
    struct fastcgi fastcgi;
    enum status s = gate_open(config, &gate);
    if (s != STATUS_OK) {
        log_error("can't write to the spool %s: %s; start the collector once to make it", config->paths.spool_dir,
                  status_text(s));
        sleep(1);
        return 1;
    }
    if (!fastcgi_init(&fastcgi, listener)) {
        log_error("libfcgi can't start");
        gate_close(gate);
        return 1;
    }
    prefork_ready();
    while (fastcgi_next(&fastcgi)) {
        gate_answer(gate, fastcgi.request.envp, fastcgi.began_us, &answer);
        FCGX_PutStr(answer.bytes, (int)answer.length, fastcgi.request.out);
    }
    fastcgi_term(&fastcgi);
    gate_close(gate);
    return 0;
}

static bool has_table(const struct config *config)
{
    struct limit_table *t = NULL;
    bool there = limit_table_open(config->paths.run_dir, &t) == STATUS_OK;
    limit_table_close(t);
    return there;
}

int main(int argc, char *argv[])
{
    const char *path = NULL;
    char problem[512];
    struct config *config = NULL;
    bool only_ready = false;
    const struct arguments_flag flags[] = {{"ready", &only_ready}, {0}};
    int status = arguments_read(argc, argv, "tollgate-gate", usage, flags, &path);
    if (status >= 0)
        return status;
    if (config_load(path, &config, problem) != STATUS_OK) {
        fprintf(stderr, "tollgate-gate: %s\n", problem);
        return 1;
    }
    log_init("gate", (enum log_level)config->log.level);
    if (only_ready) {
        status = has_table(config) ? 0 : 1;
        config_free(config);
        return status;
    }
    if (sodium_init() < 0) {
        log_error("libsodium can't start");
        return 1;
    }
    const struct prefork_pool pool = {
        .listen = config->gate.listen,
        .n_listen = sizeof(config->gate.listen) / sizeof(config->gate.listen[0]),
        .processes = (int)config->gate.processes,
    };
    struct prefork gates = {
        .pools = &pool,
        .n_pools = 1,
        .user = config->process.user,
        .argv = argv,
        .child = serve,
        .arg = config,
    };
    enum status s = prefork_run(&gates);
    if (s != STATUS_OK)
        log_error("stopped: %s", status_text(s));
    config_free(config);
    return s == STATUS_OK ? 0 : 1;
}
