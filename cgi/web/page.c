/* page.c: sessions, forms, errors and the frame of all pages */
#include "cgi/web/page.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "lib/base/decimal.h"
#include "lib/base/log.h"
#include "lib/store/accounts.h"
#include "lib/web/csrf.h"
#include "lib/web/session.h"

bool page_secure(const struct app *app)
{
    return app->request->https || strncmp(app->config->web.public_url, "https://", 8) == 0;
}

static enum caller_role role_of(const char *name)
{
    if (strcmp(name, "operator") == 0)
        return ROLE_OPERATOR;
    return strcmp(name, "admin") == 0 ? ROLE_ADMIN : ROLE_VIEWER;
}

enum status page_identify(struct app *app)
{
    unsigned char token[SESSION_BYTES];
    char hash[SESSION_HASH_SIZE];
    struct account account = {0};
    struct caller *c = &app->caller;
    void *pool = app->request->pool;
    enum status s;

    if (session_cookie_read(app->request, SESSION_COOKIE, page_secure(app), token) != STATUS_OK)
        return STATUS_OK;
    session_hash(token, SESSION_BYTES, hash);
    s = db_begin(app->db, NULL);
    if (s == STATUS_OK)
        s = session_lookup(app->db, hash, app->config->web.session_idle_s, app->config->web.session_absolute_s,
                           &account);
    /* an expired session was deleted by the look: that has to be kept */
    if (s == STATUS_NOT_FOUND)
        return app_end(app, STATUS_OK);
    s = app_end(app, s);
    if (s != STATUS_OK)
        return s;
    *c = (struct caller){.kind = CALLER_SESSION, .role = role_of(account.role), .account = account.id};
    c->email = talloc_strdup(pool, account.email);
    c->tenant = account.tenant[0] == '\0' ? NULL : talloc_strdup(pool, account.tenant);
    c->session = talloc_memdup(pool, token, sizeof(token));
    if (!c->email || !c->session || (account.tenant[0] != '\0' && !c->tenant)) {
        *c = (struct caller){0};
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

bool page_csrf(struct app *app)
{
    const char *token = request_form(app->request, "csrf");
    unsigned char secret[SESSION_BYTES];

    if (!csrf_origin_is_own(app->request, app->config->web.public_url))
        return false;
    if (strcmp(app->match.route->path, "/sign-in") == 0)
        return session_cookie_read(app->request, SESSION_FORM_COOKIE, page_secure(app), secret) == STATUS_OK &&
               csrf_token_is(secret, token);
    return app->caller.session && csrf_token_is(app->caller.session, token);
}

struct template_dict *page_open(struct app *app, const char *title)
{
    struct template_dict *d = template_create(), *head = template_include(d, "HEAD", "head.tpl");
    char token[CSRF_TOKEN_SIZE];

    template_include(d, "FOOT", "foot.tpl");
    template_set(head, "TITLE", title);
    if (app->caller.kind == CALLER_SESSION) {
        csrf_token(app->caller.session, token);
        template_set_everywhere(d, "CSRF", token);
        template_show(head, "SIGNED_IN");
        template_show(head, app->caller.role == ROLE_OPERATOR ? "OPERATOR" : "MEMBER");
    }
    return d;
}

void page_send(struct app *app, int status, const char *file, struct template_dict *d)
{
    enum status s;

    buffer_clear(&app->response->body);
    s = template_render(file, d, &app->response->body);
    template_destroy(d);
    if (s != STATUS_OK) {
        log_error("request %s: template %s: %s", app->request->id, file, status_text(s));
        buffer_clear(&app->response->body);
        response_error(app->response, 500, "internal", "The page could not be made", NULL);
        return;
    }
    app->response->status = status;
    app->response->media_type = "text/html; charset=utf-8";
}

void page_error(struct app *app, int status, const char *message, const char *detail)
{
    struct template_dict *d = page_open(app, message);
    char number[16];

    snprintf(number, sizeof(number), "%d", status);
    template_set(d, "STATUS", number);
    template_set(d, "MESSAGE", message);
    template_set(d, "DETAIL", !detail ? "" : detail);
    template_set(d, "REQUEST", app->request->id);
    page_send(app, status, "error.tpl", d);
}

const char *page_number(int64_t millionths, char out[PAGE_NUMBER_SIZE])
{
    return decimal_grouped(millionths, 3, "\u202f", out);
}

const char *page_tenant_path(const struct app *app, const char *id, const char *more)
{
    void *pool = app->request->pool;
    const char *segment = router_segment(pool, id);
    const char *path = !segment ? NULL : talloc_asprintf(pool, "/tenant/%s%s", segment, more);

    return !path ? "/" : path;
}
