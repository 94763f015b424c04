/*
 * migrate: brings a database to the schema in sql_dir.
 *
 * The tables are numbered files (schema/001_schema.sql, …), each run once and recorded with a checksum in
 * tollgate.schema_migrations; functions, views, triggers and rights are applied anew whenever they changed (functions.h). All in one
 * transaction as tollgate_owner; again is a no-op. A changed file of tables and a database newer than the program are refused. An
 * advisory lock keeps two apart. Called by `tollgate migrate`, `adopt` and `demo` on a connection of theirs.
 */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include <stdbool.h>

#include "lib/store/db.h"

enum migrate_host {
    MIGRATE_HOST_KNOWN, /* only a database that was migrated before */
    MIGRATE_HOST_NEW,   /* makes the host's tables when none of them is there */
    MIGRATE_HOST_ADOPT, /* takes the host's tables that are there */
};

struct migrate_options {
    const char *sql_dir;
    enum migrate_host host;
    void (*progress)(const char *line); /* may be NULL */
    const char *host_grants; /* MIGRATE_HOST_ADOPT: run by the connecting user once the roles are there; NULL */
};

/* On failure `problem` says what to do. STATUS_VERSION: changed file or newer database; STATUS_DENIED: roles, rights. */
MUST_CHECK enum status migrate_run(struct db *d, const struct migrate_options *o, char problem[512]);
/*
 * Takes a database whose tenants are where tollgate.mapping, a setting of the caller's transaction, says (adopt_map); all of it is part of
 * that transaction, which ends as tollgate_owner's.
 */
MUST_CHECK enum status migrate_map(struct db *d, const struct migrate_options *o, char problem[512]);
/* Takes all of Tollgate's out of an adopted database, in the caller's transaction. */
MUST_CHECK enum status migrate_leave(struct db *d, const struct migrate_options *o, char problem[512]);
/* Runs the files of sql_dir/<folder> in the order of their names, each in a transaction as tollgate_owner; unrecorded. */
MUST_CHECK enum status migrate_folder(struct db *d, const struct migrate_options *o, const char *folder,
                                      char problem[512]);

#endif
