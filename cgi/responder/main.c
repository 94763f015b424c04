/* main.c: boot of tollgate-web, and the loop that a child serves requests in */
#include <json-c/json.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cgi/responder/app.h"
#include "cgi/responder/page.h"
#include "lib/base/config.h"
#include "lib/base/fastcgi.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/web/template.h"

#define LISTS(array) (sizeof(array) / sizeof(array)[0])

static const char usage[] = "usage: tollgate-web [--config FILE]\n"
                            "The FastCGI responder: the JSON API and the pages.\n"
                            "FILE is $TOLLGATE_CONF or /etc/tollgate/tollgate.conf unless given.\n";

struct boot {
    const struct config *config;
};

static size_t read_body(void *arg, char *to, size_t size)
{
    int n = FCGX_GetStr(to, (int)size, (FCGX_Stream *)arg);

    return n < 0 ? 0 : (size_t)n;
}

static void answer(FCGX_Request *fcgi, const struct request *request, const struct response *response)
{
    struct buffer out;

    buffer_init(&out, 0);
    response_write(response, request, &out);
    if (out.failed || out.length > INT32_MAX)
        log_error("request %s: no memory for the answer", request->id);
    else
        FCGX_PutStr(out.data, (int)out.length, fcgi->out);
    buffer_term(&out);
}

static void serve_one(struct app *app, FCGX_Request *fcgi)
{
    const struct request_options options = {
        .body_bytes = (size_t)app->config->web.body_bytes,
        .trusted_proxies = app->config->web.trusted_proxies,
    };
    struct request_refusal why;
    struct request request;
    struct response response;
    enum status s = request_read(&request, fcgi->envp, read_body, fcgi->in, &options, &why);

    response_init(&response);
    app_serve(app, &request, &response, s == STATUS_OK ? NULL : &why);
    answer(fcgi, &request, &response);
    response_term(&response);
    request_term(&request);
}

static int serve(int listener, size_t pool, void *arg)
{
    (void)pool;
    const struct boot *boot = arg;
    struct app app = {.config = boot->config};
    struct fastcgi fastcgi;

    if (!fastcgi_init(&fastcgi, listener)) {
        log_error("FastCGI could not be started");
        return 1;
    }
    if (db_open(boot->config->database.web, "tollgate-web", &app.db) != STATUS_OK) {
        log_error("no memory");
        return 1;
    }
    db_timeouts(app.db, (int)boot->config->database.connect_timeout_s, (int)boot->config->database.statement_timeout_s);
    prefork_ready();
    while (fastcgi_next(&fastcgi))
        serve_one(&app, &fastcgi.request);
    fastcgi_term(&fastcgi);
    app_term(&app);
    return 0;
}

int main(int argc, char *argv[])
{
    struct config *config = NULL;
    char problem[512];
    struct boot boot;
    struct prefork prefork;
    struct prefork_pool pools[2]; /* JSON, and the pages: hashing a password or a slow form holds up no JSON */
    const char *path = NULL;
    enum status s;

    if (argc == 3 && strcmp(argv[1], "--config") == 0) {
        path = argv[2];
    } else if (argc != 1) {
        bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
        fputs(usage, help ? stdout : stderr);
        return help ? 0 : 2;
    }
    if (config_load(path, &config, problem) != STATUS_OK) {
        fprintf(stderr, "tollgate-web: %s\n", problem);
        return 2;
    }
    log_init("web", (enum log_level)config->log.level);
    if (sodium_init() < 0 || !page_sign_in_prepare(config)) {
        log_error("libsodium could not be started");
        return 1;
    }
    if (template_load(config->paths.template_dir, problem, sizeof problem) != STATUS_OK) {
        log_error("%s", problem);
        return 1;
    }
    json_c_set_serialization_double_format("%.17g", JSON_C_OPTION_GLOBAL);
    boot = (struct boot){.config = config};
    pools[0] = (struct prefork_pool){config->web.listen, LISTS(config->web.listen), (int)config->web.processes};
    pools[1] = (struct prefork_pool){config->web.pages_listen, LISTS(config->web.pages_listen),
                                     (int)config->web.pages_processes};
    prefork = (struct prefork){
        .pools = pools,
        .n_pools = LISTS(pools),
        .user = config->process.user,
        .argv = argv,
        .child = serve,
        .arg = &boot,
    };
    s = prefork_run(&prefork);
    config_free(config);
    return s == STATUS_OK ? 0 : 1;
}
