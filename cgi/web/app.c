/* app.c: a request on its way to its handler: who calls, which route, may they */
#include "cgi/web/app.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/page.h"
#include "cgi/web/routes.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/meter/apikey.h"
#include "lib/web/csrf.h"
#include "lib/web/json.h"

#define JSON_BUDGET 2000 /* of json_read, for a body that is no list of events */
#define RETRY_AFTER "5"  /* seconds, while something that this program needs is away */

/* ---- answers of failures ---- */

void app_error(struct app *app, int status, const char *code, const char *message, const char *detail)
{
    if (status == 401)
        response_header(app->response, "WWW-Authenticate", app->source.challenge);
    if (status == 503)
        response_header(app->response, "Retry-After", RETRY_AFTER);
    response_error(app->response, status, code, message, detail);
    if (request_wants_html(app->request))
        page_error(app, status, message, detail);
}

void app_fail(struct app *app, enum status s, const char *doing)
{
    if (s == STATUS_UNAVAILABLE && db_other_version(app->db)) {
        log_warning("%s: %s", doing, db_error(app->db));
        app_error(app, 503, "database_version", "The database is of another version",
                  "The operator has to run `tollgate migrate`. Nothing was changed; events are still accepted.");
    } else if (s == STATUS_UNAVAILABLE || s == STATUS_TIMEOUT) {
        log_warning("%s: the database %s: %s", doing, status_text(s), db_error(app->db));
        app_error(app, 503, "database_unavailable", "The database is not available",
                  "Nothing was changed. Try again in a few seconds; events are still accepted.");
    } else if (s == STATUS_CONFLICT) {
        app_error(app, 503, "conflict", "Another change came between", "Nothing was changed. Try again.");
    } else if (s == STATUS_NOT_FOUND) {
        app_error(app, 404, "tenant_unknown", "There is no such tenant", "GET /api/tenants lists the tenants.");
    } else {
        log_error("request %s: %s: %s (%s %s)", app->request->id, doing, status_text(s), db_sqlstate(app->db),
                  db_error(app->db));
        app_error(app, 500, "internal", "Something went wrong here",
                  "Tell the operator the number of this request (header X-Request-Id).");
    }
}

/* ---- the node's limit table and spool ---- */

enum status app_table_open(struct app *app)
{
    enum status s;

    if (app->table && limit_table_stale(app->table)) {
        limit_table_close(app->table);
        app->table = NULL;
        app->joined = false;
    }
    if (!app->table) {
        s = limit_table_open(app->config->paths.run_dir, &app->table);
        if (s != STATUS_OK) {
            app->table = NULL;
            return s;
        }
    }
    return limit_table_catalogue(app->table, &app->catalogue, NULL);
}

static void table_away(struct app *app)
{
    app_error(app, 503, "limit_table_unavailable", "The limit table is not there yet",
              "The collector makes it; try again in a few seconds. tollgate doctor says more.");
}

struct limit_table *app_table(struct app *app)
{
    enum status s = app_table_open(app);

    if (s == STATUS_OK)
        return app->table;
    log_warning("limit table: %s", status_text(s));
    table_away(app);
    return NULL;
}

enum status app_spool(struct app *app)
{
    const struct config *c = app->config;
    struct spool_options options = {
        .dir = c->paths.spool_dir,
        .kind = SPOOL_WEB,
        .sync = (enum spool_sync)c->spool.sync,
        .segment_bytes = (size_t)c->spool.segment_bytes,
        .segment_age_us = c->spool.segment_age_s * CLOCK_US_PER_SECOND,
        .max_bytes = (uint64_t)c->spool.max_bytes,
    };

    return app->spool ? STATUS_OK : spool_writer_open(&options, &app->spool);
}

void app_term(struct app *app)
{
    spool_writer_close(app->spool);
    seats_term(&app->hashing);
    if (app->table)
        limit_table_close(app->table);
    if (app->db)
        db_close(app->db);
}

/* ---- who calls ---- */

static void refuse_key(struct app *app, const char *message)
{
    app_error(app, 401, "unauthorized", message, app->source.advice);
}

/* Fills the caller from a key; false after answering. */
static bool identify_key(struct app *app)
{
    unsigned char hash[APIKEY_HASH_BYTES];
    struct limit_tenant tenant;
    struct limit_key key;
    struct caller *c = &app->caller;
    const char *value, *text;
    char room[APIKEY_ROOM];
    size_t times, length;
    enum status s;

    value = request_variable(app->request, app->source.variable, &times);
    if (times != 1 || !apikey_find(&app->source, value, room, &text, &length) ||
        apikey_hash(text, length, hash) != STATUS_OK) {
        refuse_key(app, times == 0 ? "A key is needed" : "The header that carries the key does not hold one key");
        return false;
    }
    if (!app_table(app))
        return false;
    s = limit_table_key(app->table, hash, &key);
    if (s == STATUS_NOT_FOUND && !limit_table_is_ready(app->table))
        s = STATUS_UNAVAILABLE;
    if (s == STATUS_OK && !key.is_operator)
        s = limit_table_tenant(app->table, key.tenant, &tenant);
    if (s == STATUS_NOT_FOUND || (s == STATUS_OK && key.revoked)) {
        refuse_key(app, "This key is not known");
        return false;
    }
    if (s == STATUS_OK && key.expires_us <= clock_wall_us()) {
        refuse_key(app, "This key has expired");
        return false;
    }
    if (s != STATUS_OK) {
        table_away(app);
        return false;
    }
    *c = (struct caller){.kind = CALLER_KEY, .scopes = key.scopes, .key_id = talloc_strdup(app->request->pool, key.id)};
    if (key.is_operator)
        c->role = ROLE_OPERATOR;
    else
        c->tenant = talloc_strdup(app->request->pool, tenant.id);
    if (!c->key_id || (!key.is_operator && !c->tenant)) {
        app_fail(app, STATUS_NO_MEMORY, "key");
        return false;
    }
    return true;
}

/* ---- may they ---- */

static bool is_page(enum route_who who)
{
    return who == WHO_VIEWER || who == WHO_ADMIN || who == WHO_OPERATOR;
}

static bool key_may(const struct caller *c, const struct route *route)
{
    return (c->scopes & route->scopes) != 0 && (route->who == WHO_KEY || c->role == ROLE_OPERATOR);
}

/* "It takes an operator's key with the scope read or track." */
static const char *key_needs(const struct app *app, const struct route *route)
{
    static const struct {
        unsigned scope;
        const char *name;
    } names[] = {{LIMIT_SCOPE_CALL, "call"},
                 {LIMIT_SCOPE_TRACK, "track"},
                 {LIMIT_SCOPE_READ, "read"},
                 {LIMIT_SCOPE_ADMIN, "admin"},
                 {LIMIT_SCOPE_METRICS, "metrics"}};
    const char *kind = route->who == WHO_KEY_OPERATOR ? "an operator's key" : "a key";
    char *text = talloc_asprintf(app->request->pool, "It takes %s with the scope", kind);
    const char *before = " ";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((route->scopes & names[i].scope) == 0)
            continue;
        text = talloc_asprintf_append(text, "%s%s", before, names[i].name);
        before = " or ";
    }
    return talloc_asprintf_append(text, ".");
}

/* May the caller see this tenant at all? An operator may. */
static bool may_see(const struct app *app, const char *tenant)
{
#ifdef TOLLGATE_TEST
    /* shows that row-level security alone keeps tenants apart */
    if (getenv("TOLLGATE_TEST_NO_TENANT_CHECK"))
        return true;
#endif
    return app->caller.role == ROLE_OPERATOR || (app->caller.tenant && strcmp(app->caller.tenant, tenant) == 0);
}

static void foreign_tenant(struct app *app)
{
    app_error(app, 403, "tenant_forbidden", "This is not your tenant",
              "A key and a sign-in reach their own tenant only.");
}

/* A key's route: who it is, its scope, its tenant. False after answering. */
static bool authorise_key(struct app *app, const struct route *route)
{
    const char *header = app->request->tenant_header;

    if (!identify_key(app))
        return false;
    if (header && app->caller.role != ROLE_OPERATOR && strcmp(header, app->caller.tenant) != 0) {
        foreign_tenant(app);
        return false;
    }
    if (!key_may(&app->caller, route)) {
        app_error(app, 403, "scope_missing", "This key may not do that", key_needs(app, route));
        return false;
    }
    return true;
}

static void form_expired(struct app *app)
{
    app_error(app, 403, "form_expired", "This form has expired", "Go back, load the page again and send it once more.");
}

static bool authorise_session(struct app *app, const struct route *route)
{
    enum caller_role least = route->who == WHO_OPERATOR ? ROLE_OPERATOR
                             : route->who == WHO_ADMIN  ? ROLE_ADMIN
                                                        : ROLE_VIEWER;
    enum status s = page_identify(app);

    if (s != STATUS_OK) {
        app_fail(app, s, "session");
        return false;
    }
    if (is_page(route->who) && app->caller.kind != CALLER_SESSION) {
        if (route->method == METHOD_GET)
            response_redirect(app->response, "/sign-in");
        else
            app_error(app, 401, "signed_out", "You are not signed in", "Sign in and try again.");
        return false;
    }
    if (is_page(route->who) && app->caller.role < least) {
        app_error(app, 403, "role_missing", "Your role does not allow this", "An admin or the operator may.");
        return false;
    }
    return true;
}

static bool authorise(struct app *app)
{
    const struct route *route = app->match.route;
    const char *id = router_value(&app->match, "id");
    bool key_route = route->who != WHO_ANYONE && !is_page(route->who);

    if (key_route ? !authorise_key(app, route) : (is_page(route->who) || route->csrf) && !authorise_session(app, route))
        return false;
    if (id && !may_see(app, id)) {
        foreign_tenant(app);
        return false;
    }
    app->tenant = id ? id : app->caller.tenant;
    return true;
}

/* Finds the route; false after answering. */
static bool find_route(struct app *app)
{
    char allow[64];
    enum status s = router_find(routes, n_routes, app->request, &app->match);

    if (s == STATUS_DENIED) {
        response_header(app->response, "Allow", router_allow(app->match.allowed, allow));
        app_error(app, 405, "method_not_allowed", "This path does not take that method",
                  "The header Allow lists which.");
    } else if (s == STATUS_NOT_FOUND) {
        app_error(app, 404, "not_found", "There is nothing at this path", "docs/api.md lists the paths.");
    } else if (s != STATUS_OK) {
        app_fail(app, s, "route");
    }
    return s == STATUS_OK;
}

/* Bytes that a body of this route may have. */
static size_t most_of(const struct app *app)
{
    switch (app->match.route->body) {
    case BODY_EVENTS:
        return (size_t)app->config->web.body_bytes;
    case BODY_JSON:
        return 65536;
    default:
        return 16384;
    }
}

static void too_large(struct app *app)
{
    app_error(app, 413, "body_too_large", "The body is too large",
              talloc_asprintf(app->request->pool, "At most %zu bytes are taken here.", most_of(app)));
}

static void begin(struct app *app, struct request *request, struct response *response)
{
    app->request = request;
    app->response = response;
    app->match = (struct route_match){0};
    app->caller = (struct caller){0};
    app->tenant = NULL;
}

bool app_admit(struct app *app, struct request *request, struct response *response, size_t *most)
{
    begin(app, request, response);
    if (!find_route(app) || !authorise(app))
        return false;
    if (app->match.route->csrf && !csrf_origin_is_own(request, app->config->web.public_url)) {
        form_expired(app);
        return false;
    }
    *most = most_of(app);
    if (request->declared <= *most)
        return true;
    too_large(app);
    return false;
}

void app_refuse_body(struct app *app, enum responder_trouble trouble)
{
    if (trouble == RESPONDER_TOO_LONG)
        too_large(app);
    else if (trouble == RESPONDER_LATE)
        app_error(app, 408, "request_timeout", "The request took too long to arrive",
                  "Nothing of it was done. Send it again, in smaller parts if the connection is slow.");
    else
        app_error(app, 503, "busy", "Too many large requests arrive at the same time",
                  "Nothing of it was done. Send it again in a few seconds.");
}

void app_refuse(struct app *app, struct request *request, struct response *response,
                const struct request_refusal *refused)
{
    begin(app, request, response);
    app_error(app, refused->status, refused->code, refused->message, refused->detail);
}

void app_handle(struct app *app)
{
    struct response *response = app->response;

    if (app->match.route->csrf && !page_csrf(app))
        form_expired(app);
    else
        app->match.route->handle(app);
    if (response->headers.failed || response->body.failed) {
        log_error("request %s: the answer outgrew its bound", app->request->id);
        buffer_clear(&response->headers);
        app_error(app, 500, "internal", "The answer is too large", NULL);
    }
}

/* ---- transactions ---- */

enum status app_begin(struct app *app)
{
    return db_begin(app->db, app->caller.tenant ? app->caller.tenant : app->tenant);
}

enum status app_end(struct app *app, enum status s)
{
    if (s == STATUS_OK)
        return db_commit(app->db);
    db_rollback(app->db);
    return s;
}

/* ---- bodies ---- */

struct json_object *app_json_body(struct app *app)
{
    const struct request *r = app->request;
    struct json_object *document;
    struct json_problem problem;
    size_t budget = JSON_BUDGET;
    enum status s;

    if (strcmp(r->media_type, "application/json") != 0) {
        app_error(app, 415, "media_type", "The body has to be JSON", "Send Content-Type: application/json.");
        return NULL;
    }
    s = json_read(r->body, r->body_length, &budget, &document, &problem);
    if (s == STATUS_LIMIT) {
        app_error(app, 413, "too_many_values", "There are too many values in the body", "Send less at once.");
        return NULL;
    }
    if (s == STATUS_OK && document)
        return json_pool(r->pool, document);
    if (s == STATUS_OK) {
        app_error(app, 400, "json_invalid", "The body is null", "Send an object or an array.");
        return NULL;
    }
    if (s == STATUS_INVALID)
        app_error(app, 400, "json_invalid", "The body is not valid JSON",
                  talloc_asprintf(r->pool, "At byte %zu: %s.", problem.offset, problem.message));
    else
        app_fail(app, s, "json");
    return NULL;
}
