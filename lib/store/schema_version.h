/*
 * schema_version: the SQL that a program was built with, compared with what the database has.
 *
 * A program that finds a database of another version waits until `tollgate migrate` has run, and goes on by itself: db_begin gives
 * STATUS_UNAVAILABLE with a sentence, as if PostgreSQL were not there, so every caller does what it does then anyway. The version is
 * compiled in (Makefile), not read from sql_dir: an upgrade replaces those files while the old programs still run, and they would
 * take the new version for theirs when they start anew.
 */
#ifndef STORE_SCHEMA_VERSION_H
#define STORE_SCHEMA_VERSION_H

#include "lib/store/db.h"

/* The checksum of sql/schema and sql/functions at the time of the build (functions.h). */
const char *schema_version(void);
/* From its next transaction on the connection is of use only when the database has this version. */
void schema_version_hold(struct db *d);

#endif
