/*
 * functions: keeps the functions, views, triggers, policies and rights of schema tollgate as the files of sql_dir/functions define them.
 *
 * The files are applied whenever the checksum of them and of the tables' files is another than what the database has, or when a function there is not as it was
 * applied. What a function grants stands in its file, so all rights are taken back first. A function that no file defines is dropped.
 * Called by lib/store/migrate.c in a transaction of tollgate_owner's, which it commits.
 */
#ifndef STORE_FUNCTIONS_H
#define STORE_FUNCTIONS_H

#include "lib/store/db.h"

/* The version in tollgate.schema_migrations that holds the checksum of the functions. */
#define FUNCTIONS_VERSION "0"

/* On failure `problem` says what to do. `say` may be NULL. */
MUST_CHECK enum status functions_apply(struct db *d, const char *sql_dir, void (*say)(const char *line),
                                       char problem[512]);

#endif
