/* page_account.c: who is signed in, and a new password */
#include <string.h>

#include "cgi/web/page.h"
#include "lib/base/password.h"
#include "lib/base/password_common.h"
#include "lib/store/accounts.h"
#include "lib/web/session.h"

static void show(struct app *app, int status, const char *problem)
{
    static const char *const roles[] = {"", "viewer", "admin", "operator"};
    struct template_dict *d = page_open(app, "Account");

    template_set(d, "EMAIL", app->caller.email);
    template_set(d, "ROLE", roles[app->caller.role]);
    if (problem)
        template_set(template_section(d, "PROBLEM"), "TEXT", problem);
    page_send(app, status, "account.tpl", d);
}

void page_account_form(struct app *app)
{
    show(app, 200, NULL);
}

void page_account(struct app *app)
{
    const char *current = request_form(app->request, "current"), *fresh = request_form(app->request, "new");
    char session[SESSION_HASH_SIZE], hash[PASSWORD_HASH_SIZE];
    struct sign_in_subjects subjects;
    struct account account;
    int64_t seconds = 0;
    bool right;
    const char *problem = !fresh ? "Give a new password." : password_problem(fresh, app->caller.email);
    enum status s;

    if (!current || strlen(current) > PASSWORD_MOST)
        problem = "Give the current password.";
    if (problem) {
        show(app, 400, problem);
        return;
    }
    if (!page_hashing_begin(app))
        return;
    page_sign_in_subjects(app, app->caller.email, &subjects);
    s = db_begin(app->db, NULL);
    if (s == STATUS_OK)
        s = signin_try(app->db, subjects.account, subjects.address, &seconds);
    if (s == STATUS_OK)
        s = account_find(app->db, app->caller.email, &account);
    s = app_end(app, s);
    right = s == STATUS_OK && seconds == 0 && password_is(account.password_hash, current);
    if (right)
        s = password_hash(app->config, fresh, hash);
    seats_leave(&app->hashing);
    if (s == STATUS_OK && !right) {
        show(app, seconds > 0 ? 429 : 403,
             seconds > 0 ? "Too many tries. Wait a while before the next." : "The current password is wrong.");
        return;
    }
    session_hash(app->caller.session, SESSION_BYTES, session);
    if (s == STATUS_OK)
        s = db_begin(app->db, NULL);
    if (s == STATUS_OK)
        s = signin_ok(app->db, subjects.account, subjects.address);
    if (s == STATUS_OK)
        s = account_set_password(app->db, session, hash);
    s = app_end(app, s);
    if (s != STATUS_OK) {
        app_fail(app, s, "password");
        return;
    }
    session_cookie_set(app->response, SESSION_COOKIE, page_secure(app), NULL);
    response_redirect(app->response, "/sign-in?changed=1");
}
