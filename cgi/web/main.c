/* main.c: boot of tollgate-web, and the loop that a child serves requests in */
#include <json-c/json.h>
#include <malloc.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cgi/web/api.h"
#include "cgi/web/app.h"
#include "cgi/web/page.h"
#include "lib/base/arguments.h"
#include "lib/base/clock.h"
#include "lib/base/config.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"
#include "lib/store/schema_version.h"
#include "lib/web/template.h"

#define LARGE 65536       /* bytes of body and answer after which memory is given back */
#define BODIES_TOGETHER 4 /* of the largest bodies, in a process at a time */
#define LISTS(array) (sizeof(array) / sizeof(array)[0])

static const char usage[] = "usage: tollgate-web [--config FILE | --version]\n"
                            "The FastCGI responder: the JSON API and the pages.\n"
                            "FILE is $TOLLGATE_CONF or /etc/tollgate/tollgate.conf unless given.\n";

static void answer(struct responder *responder, const struct request *request, const struct response *response)
{
    struct buffer out;

    buffer_init(&out, 0);
    response_write(response, request, &out);
    if (out.failed)
        log_error("request %s: no memory for the answer", request->id);
    responder_answer(responder, !out.data ? "" : out.data, out.failed ? 0 : out.length);
    buffer_term(&out);
}

/* Reads the request's body and answers it; false: it has to wait for the body, of at most `most` bytes. */
static bool serve_body(struct app *app, const struct responder_request *asked, struct request *request,
                       struct response *response, size_t most)
{
    struct request_refusal why;
    enum responder_trouble trouble = asked->body_length > most ? RESPONDER_TOO_LONG : asked->trouble;
    enum status s;

    if (trouble == RESPONDER_FINE && !asked->whole)
        return false;
    if (trouble != RESPONDER_FINE) {
        app_refuse_body(app, trouble);
        return true;
    }
    s = request_take_body(request, asked->body, asked->body_length, &why);
    if (s == STATUS_OK)
        app_handle(app);
    else
        app_refuse(app, request, response, &why);
    return true;
}

/* A request that a handler has put back: its events are stored, and it waits for the commit. */
static void serve_later(struct app *app, const struct responder_request *asked)
{
    struct request_refusal why;
    struct request request;
    struct response response;

    if (!api_events_done(app, asked->kept))
        return;
    response_init(&response);
    if (request_open(&request, asked->environment, app->config->web.trusted_proxies, &why) == STATUS_OK) {
        app->request = &request;
        app->response = &response;
        api_events_answer(app, asked->kept);
        app->request = NULL;
        app->response = NULL;
    } else {
        app_refuse(app, &request, &response, &why);
    }
    answer(app->responder, &request, &response);
    response_term(&response);
    request_term(&request);
}

static void serve_one(struct app *app, const struct responder_request *asked)
{
    size_t most = 0, length = asked->body_length;
    struct request_refusal why;
    struct request request;
    struct response response;
    bool answered = true, large;
    enum status s = request_open(&request, asked->environment, app->config->web.trusted_proxies, &why);

    response_init(&response);
    app->later = false;
    if (s != STATUS_OK)
        app_refuse(app, &request, &response, &why);
    else if (app_admit(app, &request, &response, &most))
        answered = serve_body(app, asked, &request, &response, most);
    large = answered && length + response.body.length > LARGE;
    if (!answered)
        responder_wait(app->responder, most);
    else if (!app->later)
        answer(app->responder, &request, &response);
    response_term(&response);
    request_term(&request);
    if (large)
        malloc_trim(0);
}

static int serve(int listener, void *arg)
{
    const struct config *config = arg;
    struct app app = {.config = config, .hashing = SEATS_NONE};
    const struct responder_request *asked;

    apikey_source_init(&app.source, config->gate.key_header);
    if (responder_create(listener, config->web.request_timeout_s * CLOCK_US_PER_SECOND,
                         BODIES_TOGETHER * (size_t)config->web.body_bytes, &app.responder) != STATUS_OK ||
        db_open(config->database.web, "tollgate-web", &app.db) != STATUS_OK) {
        log_error("no memory");
        return 1;
    }
    schema_version_hold(app.db);
    db_timeouts(app.db, (int)config->database.connect_timeout_s, (int)config->database.statement_timeout_s);
    prefork_ready();
    while ((asked = responder_next(app.responder))) {
        if (asked->kept)
            serve_later(&app, asked);
        else
            serve_one(&app, asked);
    }
    responder_destroy(app.responder);
    app_term(&app);
    return 0;
}

int main(int argc, char *argv[])
{
    struct config *config = NULL;
    char problem[512];
    struct prefork prefork;
    struct prefork_pool pools[2]; /* JSON, and the pages: hashing a password or a slow form holds up no JSON */
    const char *path = NULL;
    enum status s;

    int status = arguments_read(argc, argv, "tollgate-web", usage, (const struct arguments_flag[]){{0}}, &path);

    if (status >= 0)
        return status;
    if (config_load(path, &config, problem) != STATUS_OK) {
        fprintf(stderr, "tollgate-web: %s\n", problem);
        return 2;
    }
    mallopt(M_MMAP_THRESHOLD, LARGE * 2); /* a large block is a mapping of its own, and goes when it is freed */
    log_init("web", (enum log_level)config->log.level);
    if (sodium_init() < 0 || !page_sign_in_prepare(config)) {
        log_error("libsodium could not be started");
        return 1;
    }
    if (template_load(config->paths.template_dir, problem, sizeof(problem)) != STATUS_OK) {
        log_error("%s", problem);
        return 1;
    }
    json_c_set_serialization_double_format("%.17g", JSON_C_OPTION_GLOBAL);
    pools[0] = (struct prefork_pool){config->web.listen, LISTS(config->web.listen), (int)config->web.processes};
    pools[1] = (struct prefork_pool){config->web.pages_listen, LISTS(config->web.pages_listen),
                                     (int)config->web.pages_processes};
    prefork = (struct prefork){
        .pools = pools,
        .n_pools = LISTS(pools),
        .user = config->process.user,
        .argv = argv,
        .child = serve,
        .arg = config,
    };
    s = prefork_run(&prefork);
    config_free(config);
    return s == STATUS_OK ? 0 : 1;
}
