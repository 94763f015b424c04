/*
 * page: what all HTML pages share: who is signed in, the frame around a page, numbers as people read them.
 *
 * The handlers are one file each (page_*.c) and have a template of the same stem. Dictionaries belong to the handler
 * until page_send, which destroys them.
 */
#ifndef RESPONDER_PAGE_H
#define RESPONDER_PAGE_H

#include "cgi/web/app.h"
#include "lib/base/decimal.h"
#include "lib/web/session.h"
#include "lib/web/template.h"

void page_sign_in_form(struct app *app); /* GET /sign-in */
void page_sign_in(struct app *app);      /* POST /sign-in */
void page_sign_out(struct app *app);     /* POST /sign-out */
void page_account_form(struct app *app); /* GET /account */
void page_account(struct app *app);      /* POST /account */
void page_start(struct app *app);        /* GET / */
void page_overview(struct app *app);     /* GET /tenant/:id */
void page_refresh(struct app *app);      /* POST /tenant/:id/refresh */
void page_tenants(struct app *app);      /* GET /tenants */
void page_status(struct app *app);       /* GET /status */

/* Makes what sign-in compares unknown accounts with; once, before the first request. */
bool page_sign_in_prepare(const struct config *config);
/* Whose tries are counted: an account from one address, and the address; as hashes. */
struct sign_in_subjects {
    char account[SESSION_HASH_SIZE], address[SESSION_HASH_SIZE];
};
void page_sign_in_subjects(const struct app *app, const char *email, struct sign_in_subjects *out);

/*
 * One process of the node hashes a password at a time, so that signing in takes no more than one processor and the memory
 * of one hash. False after answering 503: others were faster for too long. Ended with seats_leave(&app->hashing), which may
 * be called when not begun.
 */
bool page_hashing_begin(struct app *app);

/* Who is signed in, by the cookie: fills app->caller, or leaves it. STATUS_UNAVAILABLE: the database is away. */
enum status page_identify(struct app *app);
/* Is the form's token right? */
bool page_csrf(struct app *app);
/* Turns an error that stands in the response into a page. */
void page_error(struct app *app, int status, const char *message, const char *detail);

/* Are cookies for HTTPS only? */
bool page_secure(const struct app *app);
/* A dictionary with the frame around it. */
struct template_dict *page_open(struct app *app, const char *title);
/* Renders into the response and destroys `d`. */
void page_send(struct app *app, int status, const char *file, struct template_dict *d);

#define PAGE_NUMBER_SIZE DECIMAL_SIZE
/* The path of a tenant's page, its id encoded; in the request's pool. */
const char *page_tenant_path(const struct app *app, const char *id, const char *more);
/* Millionths with a thin space between thousands and at most three places: "12 345", "0.004". Returns `out`. */
const char *page_number(int64_t millionths, char out[PAGE_NUMBER_SIZE]);

#endif
