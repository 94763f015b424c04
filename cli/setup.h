/*
 * setup: the parts of `tollgate setup`. cmd_setup.c is the command, with the first operator, tier, tenant and key;
 * setup_place.c and setup_login.c have what is needed of PostgreSQL's superuser (roles, database; login).
 *
 * Each part says on standard error what it does before it does it, passes over what is there, and returns an exit
 * status; what went wrong is said then.
 */
#ifndef CLI_SETUP_H
#define CLI_SETUP_H

#include <sodium.h>

#include "cli/cli.h"
#include "lib/meter/apikey.h"
#include "lib/store/provision.h"

#define SETUP_LIMITS 16
#define SETUP_PASSWORD_BYTES 18 /* of a password that is made */

enum { SETUP_WEB, SETUP_COLLECTOR, SETUP_OWNER, SETUP_LOGINS };

/* A connection of the configuration, and the user of the system who makes it. */
struct setup_login {
    const char *key, *conninfo, *os_user;
    struct provision_target to;
    bool works;
    char error[512];
};

struct setup {
    struct cli *c;
    /* options; NULL is the default */
    bool write_login, password_stdin;
    const char *email, *tier, *tenant, *tenant_name, *superuser;
    const char *limit, *limits[SETUP_LIMITS + 1]; /* "a=1,b=2", and its parts */
    /* setup_place.c */
    struct setup_login logins[SETUP_LOGINS];
    struct db *super;
    char *super_conninfo;
    struct provision_target super_to;
    /* what is shown once, at the end */
    char password[sodium_base64_ENCODED_LEN(SETUP_PASSWORD_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    char key[APIKEY_TEXT_SIZE];
    bool made_operator, made_tier, made_tenant;
};

/* One line on standard error. */
void setup_step(const char *format, ...) PRINTF_LIKE(1, 2);
/* A line from the terminal; false when there is none, or nothing was typed. */
bool setup_ask(const char *question, char *out, size_t size);

/* A file's text, which the caller frees; NULL: it said why not. */
char *setup_read(const char *path);
/* Do all three log in? Only root can try as another user; what can't be tried is taken to work. */
bool setup_try_logins(struct setup *s);
/* setup_login.c: until they do. */
int setup_login(struct setup *s);
/* Until the database is there and the programs can log in. */
int setup_place(struct setup *s);
/* Frees what setup_place made. */
void setup_place_term(struct setup *s);

#endif
