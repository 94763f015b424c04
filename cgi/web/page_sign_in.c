/* page_sign_in.c: signing in and out */
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/web/page.h"
#include "lib/base/log.h"
#include "lib/base/password.h"
#include "lib/store/accounts.h"
#include "lib/web/csrf.h"
#include "lib/web/session.h"

#define EMAIL_MOST 320 /* bytes */

static void show(struct app *app, int status, const char *problem)
{
    struct template_dict *d = page_open(app, "Sign in");
    const char *email = request_form(app->request, "email");
    unsigned char secret[SESSION_BYTES];
    char token[CSRF_TOKEN_SIZE];

    if (session_cookie_read(app->request, SESSION_FORM_COOKIE, page_secure(app), secret) != STATUS_OK) {
        randombytes_buf(secret, sizeof(secret));
        session_cookie_set(app->response, SESSION_FORM_COOKIE, page_secure(app), secret);
    }
    csrf_token(secret, token);
    template_set(d, "CSRF", token);
    template_set(d, "EMAIL", !email ? "" : email);
    if (problem)
        template_set(template_section(d, "PROBLEM"), "TEXT", problem);
    if (request_query(app->request, "changed"))
        template_set(template_section(d, "NOTICE"), "TEXT", "The password is changed. Sign in with the new one.");
    page_send(app, status, "sign_in.tpl", d);
}

void page_sign_in_form(struct app *app)
{
    show(app, 200, NULL);
}

/* What an unknown account's password is compared with, so that it costs the time of a wrong one. Made at start. */
static char dummy[PASSWORD_HASH_SIZE];

bool page_sign_in_prepare(const struct config *config)
{
    return password_hash(config, "no account", dummy) == STATUS_OK;
}

#define HASHING_PATIENCE_US INT64_C(3000000)

bool page_hashing_begin(struct app *app)
{
    enum status s = seats_take(&app->hashing, app->config->paths.run_dir, "hashing", 1, HASHING_PATIENCE_US);

    if (s == STATUS_OK)
        return true;
    if (s == STATUS_IO)
        log_error("%s/hashing: %s", app->config->paths.run_dir, strerror(errno));
    app_error(app, 503, "busy", "Too many people sign in at the moment",
              "Nothing was changed. Try again in a few seconds.");
    return false;
}

void page_sign_in_subjects(const struct app *app, const char *email, struct sign_in_subjects *out)
{
    char network[REQUEST_NETWORK_SIZE], subject[REQUEST_NETWORK_SIZE + EMAIL_MOST + 16];
    size_t n;

    request_network(app->request->address, network);
    n = (size_t)snprintf(subject, sizeof(subject), "account:%s|%s", email, network);
    for (char *p = subject; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    session_hash(subject, n, out->account);
    n = (size_t)snprintf(subject, sizeof(subject), "address:%s", network);
    session_hash(subject, n, out->address);
}

/* Counts the try and looks the account up; unknown gives `known` false, not an error. */
static enum status try_account(struct app *app, const char *email, const struct sign_in_subjects *subjects,
                               struct account *account, bool *known, int64_t *seconds)
{
    enum status s = db_begin(app->db, NULL);

    if (s == STATUS_OK)
        s = signin_try(app->db, subjects->account, subjects->address, seconds);
    if (s == STATUS_OK)
        s = account_find(app->db, email, account);
    *known = s == STATUS_OK;
    return app_end(app, s == STATUS_NOT_FOUND ? STATUS_OK : s);
}

/* Ends the session that this browser had until now: two people at one machine, or a cookie that somebody kept a copy of. */
static enum status close_older(struct app *app)
{
    unsigned char token[SESSION_BYTES];
    char hash[SESSION_HASH_SIZE];

    if (session_cookie_read(app->request, SESSION_COOKIE, page_secure(app), token) != STATUS_OK)
        return STATUS_OK;
    session_hash(token, SESSION_BYTES, hash);
    return session_remove(app->db, hash);
}

/* A session of its own for each sign-in, so that none can be planted; and `renewed`, when not NULL, for the old hash. */
static enum status open_session(struct app *app, const struct account *account, const struct sign_in_subjects *subjects,
                                const char *renewed)
{
    unsigned char token[SESSION_BYTES];
    char hash[SESSION_HASH_SIZE];
    enum status s = db_begin(app->db, NULL);

    randombytes_buf(token, sizeof(token));
    session_hash(token, SESSION_BYTES, hash);
    if (s == STATUS_OK && renewed)
        s = account_renew_hash(app->db, account, renewed);
    if (s == STATUS_OK)
        s = signin_ok(app->db, subjects->account, subjects->address);
    if (s == STATUS_OK)
        s = close_older(app);
    if (s == STATUS_OK)
        s = session_store(app->db, hash, account->id);
    s = app_end(app, s);
    if (s == STATUS_OK)
        session_cookie_set(app->response, SESSION_COOKIE, page_secure(app), token);
    return s;
}

/* The hash at the configured cost when the account's is of another, else NULL; a sign-in does not fail for it. */
static const char *renew(const struct app *app, const struct account *account, const char *password,
                         char fresh[PASSWORD_HASH_SIZE])
{
    if (!password_is_stale(app->config, account->password_hash))
        return NULL;
    if (password_hash(app->config, password, fresh) == STATUS_OK)
        return fresh;
    log_warning("no memory to renew a password's hash (web.password_memory_kib)");
    return NULL;
}

static void slow_down(struct app *app, int64_t seconds)
{
    char wait[24];

    snprintf(wait, sizeof(wait), "%d", (int)seconds);
    response_header(app->response, "Retry-After", wait);
    show(app, 429, talloc_asprintf(app->request->pool, "Too many tries. Try again in %d seconds.", (int)seconds));
}

static void sign_in(struct app *app, const char *email, const char *password)
{
    struct sign_in_subjects subjects;
    struct account account = {0};
    char fresh[PASSWORD_HASH_SIZE];
    const char *renewed = NULL;
    int64_t seconds = 0;
    bool known, right = false;
    enum status s;

    page_sign_in_subjects(app, email, &subjects);
    s = try_account(app, email, &subjects, &account, &known, &seconds);
    if (s == STATUS_OK && seconds == 0)
        right = password_is(known ? account.password_hash : dummy, password) && known;
    if (right)
        renewed = renew(app, &account, password, fresh);
    seats_leave(&app->hashing);
    if (s == STATUS_OK && right)
        s = open_session(app, &account, &subjects, renewed);
    if (s != STATUS_OK)
        app_fail(app, s, "sign-in");
    else if (seconds > 0)
        slow_down(app, seconds);
    else if (!right)
        show(app, 403, "The e-mail address or the password is wrong.");
    else
        response_redirect(app->response, "/");
}

void page_sign_in(struct app *app)
{
    const char *email = request_form(app->request, "email"), *password = request_form(app->request, "password");

    if (!email || !password || strlen(email) > EMAIL_MOST || strlen(password) > 1024)
        show(app, 400, "Give an e-mail address and a password.");
    else if (page_hashing_begin(app)) /* first, so that a try that was not looked at does not count */
        sign_in(app, email, password);
}

void page_sign_out(struct app *app)
{
    char hash[SESSION_HASH_SIZE];
    enum status s = db_begin(app->db, NULL);

    session_hash(app->caller.session, SESSION_BYTES, hash);
    if (s == STATUS_OK)
        s = session_remove(app->db, hash);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        app_fail(app, s, "sign-out");
        return;
    }
    session_cookie_set(app->response, SESSION_COOKIE, page_secure(app), NULL);
    response_redirect(app->response, "/sign-in");
}
