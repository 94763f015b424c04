/*
 * db: a connection to PostgreSQL and one statement at a time on it, with parameters always.
 *
 * lib/store is the only place that names libpq; a PGresult never leaves it but as the opaque `struct db_rows`.
 * tollgate-web, the collector and the command line each connect as a role of their own. A connection that is lost
 * gives STATUS_UNAVAILABLE and connects anew at the next db_begin (bounded by database.connect_timeout). Nothing is
 * kept in the session (PgBouncer in transaction mode): the tenant is SET LOCAL in each transaction.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

struct db;
struct db_rows;

/* `conninfo` as libpq's; connects lazily. `name` is the application_name. */
MUST_CHECK enum status db_open(const char *conninfo, const char *name, struct db **out);
void db_close(struct db *d);
/* Seconds, 5 and 30 unless told; statement_s 0: no bound. From the next connect and the next db_begin on. */
void db_timeouts(struct db *d, int connect_s, int statement_s);
/*
 * Asked at each new connection, before anything else is sent on it; it may query. A text: why this connection is not to be used
 * (STATUS_UNAVAILABLE, db_error gives the text); NULL: go on.
 */
typedef const char *db_connected_fn(struct db *d, void *arg);
void db_on_connect(struct db *d, db_connected_fn *fn, void *arg);
/*
 * Every transaction and new connection asks whether the database has the SQL of this checksum (schema_version.h); else it fails with
 * STATUS_UNAVAILABLE, DB_OTHER_VERSION and a sentence. NULL: any will do. The text is the caller's.
 */
void db_expect(struct db *d, const char *checksum);
#define DB_OTHER_VERSION "TG426"
/* The last failure was that one. */
bool db_other_version(const struct db *d);

/* Connects when it is not connected, starts no transaction: for statements outside of one. STATUS_UNAVAILABLE. */
MUST_CHECK enum status db_connect(struct db *d);

/*
 * Starts a transaction; `tenant` (NULL: none) becomes tollgate.tenant_id with SET LOCAL.
 * STATUS_UNAVAILABLE: the database is away or does not take connections.
 */
MUST_CHECK enum status db_begin(struct db *d, const char *tenant);
/*
 * Starts one whose statements all see the same snapshot, of its start; it only reads, or `writes`, temporary tables say. Ends like any
 * other.
 */
MUST_CHECK enum status db_begin_snapshot(struct db *d, bool writes);
/* STATUS_UNAVAILABLE: not known whether it was committed (the connection broke); STATUS_CONFLICT: rolled back. */
MUST_CHECK enum status db_commit(struct db *d);
void db_rollback(struct db *d);

/*
 * Runs one statement with `n` text parameters (NULL is SQL NULL). *rows may be NULL when nothing is wanted of it; else
 * free it with db_rows_free. STATUS_CONFLICT: deadlock, serialization failure, unique violation; STATUS_INVALID: a
 * value is wrong (SQLSTATE 22, 23, TG: db_error tells); STATUS_DENIED: no right; STATUS_TIMEOUT: it took too long; STATUS_FENCED:
 * this node was started elsewhere; STATUS_UNAVAILABLE: connection lost, shutdown, disk full; STATUS_FAILED: anything else.
 */
MUST_CHECK enum status db_query(struct db *d, const char *sql, size_t n, const char *const params[],
                                struct db_rows **rows);
/*
 * As db_query, but outside of a transaction and on a connection that is renewed as db_begin does: one statement that reads, so
 * that sending it twice does no harm. No statement timeout holds, and search_path is the session's: operators and types are written
 * with pg_catalog.
 */
MUST_CHECK enum status db_look(struct db *d, const char *sql, size_t n, const char *const params[],
                               struct db_rows **rows);
/* How a statement is asked: db_query, db_look, db_run, db_peek. */
typedef enum status db_ask_fn(struct db *d, const char *sql, size_t n, const char *const params[],
                              struct db_rows **rows);
/* A statement's parameters, as many as there are: db_query(d, sql, DB_WITH(tenant, DB_INT(most)), &rows). */
#define DB_WITH(...)                                                              \
    sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]) \
    {                                                                             \
        __VA_ARGS__                                                               \
    }
#define DB_NOTHING 0, NULL
/* A number as a parameter; its text lives as long as the block that it stands in. */
#define DB_INT(number) db_number((char[DB_NUMBER_SIZE]){0}, number)
#define DB_NUMBER_SIZE 24
const char *db_number(char out[DB_NUMBER_SIZE], int64_t number);
/* The only value that a statement gives: db_get_int(db_query, d, sql, DB_WITH(tenant), &n). STATUS_NOT_FOUND: it gives no row. */
MUST_CHECK enum status db_get_int(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[],
                                  int64_t *out);
MUST_CHECK enum status db_get_bool(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[],
                                   bool *out);
/* "" for NULL; a longer text is cut. */
MUST_CHECK enum status db_get_text(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[],
                                   char *out, size_t size);
/* db_begin, db_query and db_commit: one statement as a transaction of its own. */
MUST_CHECK enum status db_run(struct db *d, const char *sql, size_t n, const char *const params[],
                              struct db_rows **rows);
/* db_begin, db_query and db_rollback: one statement that reads. */
MUST_CHECK enum status db_peek(struct db *d, const char *sql, size_t n, const char *const params[],
                               struct db_rows **rows);
/* As db_query, but STATUS_NOT_FOUND (and no rows) when the statement gives none. */
MUST_CHECK enum status db_query_found(struct db *d, const char *sql, size_t n, const char *const params[],
                                      struct db_rows **rows);
/* Several statements without parameters (migrations). */
MUST_CHECK enum status db_script(struct db *d, const char *sql);
/* SQLSTATE and message of the last failure; "" when there was none. Never holds a parameter's value that is secret. */
const char *db_sqlstate(const struct db *d);
const char *db_error(const struct db *d);
/* DETAIL of Tollgate's own errors (SQLSTATE TG…): the key, the metric; else "". */
const char *db_detail(const struct db *d);

/* SQL: an amount as a bigint of millionths, for db_int; what is larger than one holds counts as the largest. */
#define DB_MILLIONTHS(expression) \
    "least(greatest(" expression " * 1000000, -9223372036854775807), 9223372036854775807)::bigint"

size_t db_count(const struct db_rows *r);
/* Text of a cell, "" for NULL; lives until db_rows_free. Columns are numbered from 0. */
const char *db_text(const struct db_rows *r, size_t row, int column);
bool db_null(const struct db_rows *r, size_t row, int column);
int64_t db_int(const struct db_rows *r, size_t row, int column);
double db_double(const struct db_rows *r, size_t row, int column);
bool db_bool(const struct db_rows *r, size_t row, int column);
void db_rows_free(struct db_rows *r);

/* COPY … FROM STDIN, of `bytes` in text format. */
MUST_CHECK enum status db_copy(struct db *d, const char *sql, const char *bytes, size_t length);

#endif
