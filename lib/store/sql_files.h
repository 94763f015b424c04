/*
 * sql_files: the files of a folder of SQL, by name.
 *
 * Called by lib/store/migrate.c and lib/store/functions.c. On failure `problem` says what to do.
 */
#ifndef STORE_SQL_FILES_H
#define STORE_SQL_FILES_H

#include <dirent.h>
#include <stddef.h>

#include "lib/base/status.h"

#define SQL_CHECKSUM_SIZE 33 /* 16 bytes of BLAKE2b in hex */

struct db;
struct sql_files {
    char dir[1024];
    int n;
    struct dirent **names; /* d_name */
};

/* The files of `folder` below `sql_dir`, in the order of their names; free them with sql_files_term. */
MUST_CHECK enum status sql_files_init(struct sql_files *f, const char *sql_dir, const char *folder,
                                      char problem[PROBLEM_SIZE]);
void sql_files_term(struct sql_files *f);
/* The text of a file, which the caller frees. */
MUST_CHECK enum status sql_read(const char *dir, const char *name, char **text, size_t *length,
                                char problem[PROBLEM_SIZE]);
/* "what: why": what the database said, or the status' text. Gives `s` back. */
enum status sql_explain(const struct db *d, enum status s, const char *what, char problem[PROBLEM_SIZE]);
/* Runs it in the transaction that is open, with the names that usage_tracking and usage_summary have in this database (tollgate.host). */
MUST_CHECK enum status sql_run(struct db *d, const char *text);
/* Of one text. */
void sql_checksum(const char *text, size_t length, char out[SQL_CHECKSUM_SIZE]);
/* Of all files of schema and then of functions, one behind the other: the version of the SQL (schema_version.h). */
MUST_CHECK enum status sql_dir_checksum(const char *sql_dir, char out[SQL_CHECKSUM_SIZE], char problem[PROBLEM_SIZE]);

#endif
