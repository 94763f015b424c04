/*
 * app: what tollgate-web is at a request: its configuration, its connections, the request, who calls, the answer.
 *
 * One struct app a process, made by main.c; app_admit fills the parts of a request. Handlers
 * (api_*.c, page_*.c) read it and fill the response. Memory of a request is its pool's.
 */
#ifndef RESPONDER_APP_H
#define RESPONDER_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/seats.h"
#include "lib/meter/apikey.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/db.h"
#include "lib/web/request.h"
#include "lib/web/responder.h"
#include "lib/web/response.h"
#include "lib/web/router.h"

enum caller_kind { CALLER_NOBODY, CALLER_KEY, CALLER_SESSION };
enum caller_role { ROLE_NONE, ROLE_VIEWER, ROLE_ADMIN, ROLE_OPERATOR };

struct caller {
    enum caller_kind kind;
    enum caller_role role; /* of a session; ROLE_OPERATOR also of an operator's key */
    const char *tenant;    /* NULL of an operator and of nobody */
    unsigned scopes;       /* enum limit_scope, of a key */
    const char *key_id;    /* of a key */
    int64_t account;       /* of a session */
    const char *email;     /* of a session */
    const void *session;   /* what page_identify keeps of a session */
};

struct app {
    const struct config *config;
    struct responder *responder; /* whose request this is */
    struct apikey_source source; /* the header that keys come in */
    struct db *db;
    struct limit_table *table;  /* NULL while there is none: app_table opens it */
    struct spool_writer *spool; /* NULL until app_spool */
    bool joined;                /* this process is a writer of the table */
    struct seats hashing;       /* this process's seat while it hashes a password */
    struct {                    /* what ?wait=true has last seen in the database */
        uint64_t segment, position;
        int64_t seen_us;
        enum status s;
    } stored;
    struct limit_catalogue catalogue; /* copied by app_table at each request that asks */

    /* of one request */
    struct request *request;
    struct response *response;
    struct route_match match;
    struct caller caller;
    const char *tenant; /* that this request is about: `:id`, else the caller's; NULL: none */
    bool later;         /* the handler has put it back (responder_later): there is no answer yet */
};

/*
 * A request in three steps. app_admit finds its route, who calls and whether they may, before the body is there: false
 * after answering, else `most` bytes of a body are taken. Then app_handle answers, or app_refuse_body when the body did not
 * arrive as it should. app_refuse answers a request that could not even be read.
 */
MUST_CHECK bool app_admit(struct app *app, struct request *request, struct response *response, size_t *most);
void app_handle(struct app *app);
void app_refuse_body(struct app *app, enum responder_trouble trouble);
void app_refuse(struct app *app, struct request *request, struct response *response,
                const struct request_refusal *refused);
void app_term(struct app *app);

/* The answer for a failure, as JSON or as a page. */
void app_error(struct app *app, int status, const char *code, const char *message, const char *detail);
/*
 * The same for what a store function returned: 503 with Retry-After, 500 with a line in the log. `doing` is for the
 * log.
 */
void app_fail(struct app *app, enum status s, const char *doing);

/* The limit table, opened or opened anew when stale; its catalogue is app->catalogue. NULL after answering 503. */
struct limit_table *app_table(struct app *app);
/* The same without an answer: for /readyz and /metrics. */
enum status app_table_open(struct app *app);
/* The spool's writer, opened at first need. STATUS_NO_SPACE and others as spool_writer_open. */
MUST_CHECK enum status app_spool(struct app *app);
/* The document of an application/json body. NULL after answering 400 or 415. It lives as long as the request. */
struct json_object *app_json_body(struct app *app);
/*
 * A transaction of this request's tenant: the caller's own, or for an operator the one that the path names. app_end
 * commits when `s` is STATUS_OK, else rolls back and returns `s`.
 */
MUST_CHECK enum status app_begin(struct app *app);
MUST_CHECK enum status app_end(struct app *app, enum status s);

#endif
