/* page_sign_in.c: signing in and out */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "cgi/responder/page.h"
#include "lib/store/accounts_web.h"
#include "lib/web/csrf.h"
#include "lib/web/session.h"

static void show(struct app *app, int status, const char *problem)
{
    struct template_dict *d = page_open(app, "Sign in");
    const char *email = request_form(app->request, "email");
    unsigned char secret[SESSION_BYTES];
    char token[CSRF_TOKEN_SIZE];

    if (session_cookie_read(app->request, SESSION_FORM_COOKIE, page_secure(app), secret) != STATUS_OK) {
        session_make(secret);
        session_cookie_set(app->response, SESSION_FORM_COOKIE, page_secure(app), secret);
    }
    csrf_token(secret, token);
    template_set(d, "CSRF", token);
    template_set(d, "EMAIL", email == NULL ? "" : email);
    if (problem != NULL)
        template_set(template_section(d, "PROBLEM"), "TEXT", problem);
    if (request_query(app->request, "changed") != NULL)
        template_set(template_section(d, "NOTICE"), "TEXT", "The password is changed. Sign in with the new one.");
    page_send(app, status, "sign_in.tpl", d);
}

void page_sign_in_form(struct app *app)
{
    show(app, 200, NULL);
}

/* An unknown account costs the same time as a wrong password. */
static bool password_is(const char *hash, const char *password)
{
    static char dummy[crypto_pwhash_STRBYTES];

    if (dummy[0] == '\0' && crypto_pwhash_str(dummy, "no account", 10, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                              crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
        return false;
    return crypto_pwhash_str_verify(hash == NULL ? dummy : hash, password, strlen(password)) == 0 && hash != NULL;
}

/* A session of its own for each sign-in, so that none can be planted. */
static enum status open_session(struct app *app, const struct account *account, const char *subject)
{
    unsigned char token[SESSION_BYTES];
    char hash[SESSION_HASH_SIZE];
    enum status s = db_begin(app->db, NULL);

    session_make(token);
    session_hash(token, hash);
    if (s == STATUS_OK)
        s = signin_note(app->db, subject, true);
    if (s == STATUS_OK)
        s = session_store(app->db, hash, account->id);
    s = app_end(app, s);
    if (s == STATUS_OK)
        session_cookie_set(app->response, SESSION_COOKIE, page_secure(app), token);
    return s;
}

static enum status note_failure(struct app *app, const char *subject, const char *address)
{
    enum status s = db_begin(app->db, NULL);

    if (s == STATUS_OK)
        s = signin_note(app->db, subject, false);
    if (s == STATUS_OK)
        s = signin_note(app->db, address, false);
    return app_end(app, s);
}

void page_sign_in(struct app *app)
{
    const char *email = request_form(app->request, "email"), *password = request_form(app->request, "password");
    char subject[SESSION_HASH_SIZE], address[SESSION_HASH_SIZE], wait[24];
    void *pool = app->request->pool;
    struct account account;
    int64_t seconds = 0;
    bool known;
    enum status s;

    if (email == NULL || password == NULL || strlen(email) > 320 || strlen(password) > 1024) {
        show(app, 400, "Give an e-mail address and a password.");
        return;
    }
    session_hash_text(talloc_asprintf(pool, "account:%s|%s", email, app->request->address), subject);
    session_hash_text(talloc_asprintf(pool, "address:%s", app->request->address), address);
    s = db_begin(app->db, NULL);
    if (s == STATUS_OK)
        s = signin_wait(app->db, subject, address, &seconds);
    if (s == STATUS_OK)
        s = account_find(app->db, email, &account);
    known = s == STATUS_OK;
    s = app_end(app, s == STATUS_NOT_FOUND ? STATUS_OK : s);
    if (s != STATUS_OK) {
        app_fail(app, s, "sign-in");
    } else if (seconds > 0) {
        snprintf(wait, sizeof wait, "%d", (int)seconds);
        response_header(app->response, "Retry-After", wait);
        show(app, 429, talloc_asprintf(pool, "Too many tries. Try again in %d seconds.", (int)seconds));
    } else if (!password_is(known ? account.password_hash : NULL, password)) {
        s = note_failure(app, subject, address);
        if (s != STATUS_OK)
            app_fail(app, s, "sign-in");
        else
            show(app, 403, "The e-mail address or the password is wrong.");
    } else {
        s = open_session(app, &account, subject);
        if (s != STATUS_OK)
            app_fail(app, s, "sign-in");
        else
            response_redirect(app->response, "/");
    }
}

void page_sign_out(struct app *app)
{
    char hash[SESSION_HASH_SIZE];
    enum status s = db_begin(app->db, NULL);

    session_hash(app->caller.session, hash);
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
