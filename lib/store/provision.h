/*
 * provision: what PostgreSQL's superuser makes for Tollgate, and what a connection string says.
 *
 * Used by `tollgate setup`, before the schema is there, and by migrate. The connections are the caller's.
 */
#ifndef STORE_PROVISION_H
#define STORE_PROVISION_H

#include <stdbool.h>

#include "lib/store/db.h"

#define PROVISION_NAME 64 /* an identifier of PostgreSQL's, with its NUL */

/* Where a connection string leads, as far as it says so itself. */
struct provision_target {
    char user[PROVISION_NAME], database[PROVISION_NAME];
    char host[256]; /* "" is the default Unix socket */
    bool local;     /* over a Unix socket: peer authentication */
};

/* STATUS_INVALID: it can't be read, or it lacks the user or the database; `problem` says which. */
MUST_CHECK enum status provision_target(const char *conninfo, struct provision_target *out, char problem[512]);
/* The same server (host, port, TLS) as `conninfo`, with user and database postgres. The caller frees *out. */
MUST_CHECK enum status provision_superuser(const char *conninfo, char **out);
/* Does a server answer there at all, whoever may log in? */
bool provision_answers(const char *conninfo);

/* Are Tollgate's four roles there as sql/roles.sql makes them? Any connection. */
MUST_CHECK enum status provision_has_roles(struct db *d, bool *yes);
/* Runs roles.sql, whose text `sql` is. */
MUST_CHECK enum status provision_make_roles(struct db *d, const char *sql);
/* Who owns the database. STATUS_NOT_FOUND. */
MUST_CHECK enum status provision_owner(struct db *d, const char *database, char owner[PROVISION_NAME]);
/* Makes it, in UTF-8, owned by tollgate_owner. */
MUST_CHECK enum status provision_make_database(struct db *d, const char *database);

/* The files that decide who may log in. STATUS_DENIED: this role may not know them. */
struct provision_files {
    char hba[512], ident[512];
};
MUST_CHECK enum status provision_files(struct db *d, struct provision_files *out);
/* Has the server read its configuration anew. */
MUST_CHECK enum status provision_reload(struct db *d);
/* The first line of either file that PostgreSQL can't read, "" when there is none. */
MUST_CHECK enum status provision_file_error(struct db *d, char out[512]);

#endif
