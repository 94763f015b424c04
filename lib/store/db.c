/* db.c: a connection to PostgreSQL, transactions, statements with parameters */
#include "lib/store/db.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S 5
#define STATEMENT_TIMEOUT_S 30

struct db {
    PGconn *conn;
    char *conninfo, *name;
    const char *expected; /* of the SQL in the database */
    int connect_timeout_s, statement_timeout_s;
    db_connected_fn *connected;
    void *connected_arg;
    char sqlstate[6];
    char error[512];
    char detail[256];
};

/* The pointer handed out is the result itself: one allocation less a query. */
static const PGresult *result_of(const struct db_rows *r)
{
    return (const PGresult *)(const void *)r;
}

static void forget_error(struct db *d)
{
    d->sqlstate[0] = d->error[0] = d->detail[0] = '\0';
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t n = text ? strlen(text) : 0;

    if (n >= size)
        n = size - 1;
    memcpy(out, text ? text : "", n);
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
        n--;
    out[n] = '\0';
}

static void drop_connection(struct db *d)
{
    PQfinish(d->conn);
    d->conn = NULL;
}

/* The connection itself failed: what libpq says (never a password) and STATUS_UNAVAILABLE. */
static enum status lost(struct db *d)
{
    if (d->error[0] == '\0')
        copy_text(d->error, sizeof(d->error), d->conn ? PQerrorMessage(d->conn) : "not connected");
    if (d->sqlstate[0] == '\0')
        copy_text(d->sqlstate, sizeof(d->sqlstate), "08006");
    drop_connection(d);
    return STATUS_UNAVAILABLE;
}

static enum status status_of(const char *state)
{
    static const struct {
        const char *prefix;
        enum status status;
    } table[] = {
        {"08", STATUS_UNAVAILABLE},    /* connection */
        {"53", STATUS_UNAVAILABLE},    /* disk full, out of memory, too many connections */
        {"57014", STATUS_TIMEOUT},     /* statement timeout */
        {"57", STATUS_UNAVAILABLE},    /* shutdown */
        {"58", STATUS_UNAVAILABLE},    /* the server's own input and output */
        {"25006", STATUS_UNAVAILABLE}, /* read-only: a standby after a failover */
        {"40", STATUS_CONFLICT},       /* serialization, deadlock */
        {"55P03", STATUS_CONFLICT},    /* lock timeout */
        {"25P02", STATUS_CONFLICT},    /* the transaction has failed before */
        {"23505", STATUS_CONFLICT},    /* unique violation */
        {"42501", STATUS_DENIED},      /* no permission, row-level security */
        {"22", STATUS_INVALID},        /* a value that does not fit its type */
        {"23", STATUS_INVALID},        /* a value that breaks a constraint */
        {"TG011", STATUS_FENCED},      /* Tollgate's own: the node was started elsewhere */
        {"TG", STATUS_INVALID},        /* Tollgate's own: what was asked for is wrong */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strncmp(state, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].status;
    return STATUS_FAILED;
}

/*
 * Keeps SQLSTATE, message and (of Tollgate's own errors) detail. PostgreSQL's own details quote the row's values,
 * which may be a hash: they stay out.
 */
static enum status failed(struct db *d, const PGresult *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

    if (!state)
        return lost(d);
    copy_text(d->sqlstate, sizeof(d->sqlstate), state);
    copy_text(d->error, sizeof(d->error), PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    if (strncmp(state, "TG", 2) == 0)
        copy_text(d->detail, sizeof(d->detail), PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL));
    if (PQstatus(d->conn) != CONNECTION_OK)
        return lost(d);
    return status_of(d->sqlstate);
}

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

static enum status give_up(struct db *d, const char *sqlstate, const char *why)
{
    copy_text(d->error, sizeof(d->error), why);
    copy_text(d->sqlstate, sizeof(d->sqlstate), sqlstate);
    drop_connection(d);
    return STATUS_UNAVAILABLE;
}

#define VERSION_OF_DATABASE \
    "(SELECT m.checksum FROM tollgate.schema_migrations m WHERE m.version OPERATOR(pg_catalog.=) 0)"

/* What a question about the version found; an older database has no such table, or not for this role. */
static enum status compare_version(struct db *d, enum status asked, const char *found)
{
    static const char why[] =
        "the database is of another version of Tollgate than this program, which waits: run `tollgate migrate` of "
        "the version that is to run";
    static const char *const older[] = {"42P01", "42501", "3F000", "42703"};

    if (asked == STATUS_OK && strcmp(found, d->expected) == 0)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof(older) / sizeof(older[0]); i++)
        if (asked == STATUS_OK || strcmp(d->sqlstate, older[i]) == 0)
            return give_up(d, DB_OTHER_VERSION, why);
    return asked;
}

static enum status ask_version(struct db *d)
{
    PGresult *r = PQexec(d->conn, "SELECT " VERSION_OF_DATABASE);
    enum status s = PQresultStatus(r) == PGRES_TUPLES_OK ? STATUS_OK : failed(d, r);

    s = compare_version(d, s, s == STATUS_OK ? PQgetvalue(r, 0, 0) : "");
    PQclear(r);
    return s;
}

/* The new connection is asked about; a text is why it is given up. */
static enum status ask_connected(struct db *d)
{
    enum status s = d->expected ? ask_version(d) : STATUS_OK;
    const char *why = s == STATUS_OK && d->connected ? d->connected(d, d->connected_arg) : NULL;

    if (why)
        return give_up(d, "08004", why);
    return s == STATUS_OK && !d->conn ? STATUS_UNAVAILABLE : s;
}

static enum status connect_now(struct db *d)
{
    char timeout[24];
    const char *keys[] = {"connect_timeout", "fallback_application_name", "client_encoding", "dbname", NULL};
    const char *values[] = {timeout, d->name, "UTF8", d->conninfo, NULL};

    snprintf(timeout, sizeof(timeout), "%d", d->connect_timeout_s);
    drop_connection(d);
    d->conn = PQconnectdbParams(keys, values, 1); /* the connection string stands last: its own settings win */
    if (!d->conn)
        return STATUS_NO_MEMORY;
    if (PQstatus(d->conn) != CONNECTION_OK)
        return lost(d);
    PQsetNoticeReceiver(d->conn, ignore_notice, NULL);
    return ask_connected(d);
}

enum status db_open(const char *conninfo, const char *name, struct db **out)
{
    struct db *d = calloc(1, sizeof(*d));

    if (!d)
        return STATUS_NO_MEMORY;
    d->conninfo = strdup(conninfo);
    d->name = strdup(name);
    if (!d->conninfo || !d->name) {
        db_close(d);
        return STATUS_NO_MEMORY;
    }
    d->connect_timeout_s = CONNECT_TIMEOUT_S;
    d->statement_timeout_s = STATEMENT_TIMEOUT_S;
    *out = d;
    return STATUS_OK;
}

void db_timeouts(struct db *d, int connect_s, int statement_s)
{
    d->connect_timeout_s = connect_s;
    d->statement_timeout_s = statement_s;
}

void db_expect(struct db *d, const char *checksum)
{
    d->expected = checksum;
}

bool db_other_version(const struct db *d)
{
    return strcmp(d->sqlstate, DB_OTHER_VERSION) == 0;
}

void db_on_connect(struct db *d, db_connected_fn *fn, void *arg)
{
    d->connected = fn;
    d->connected_arg = arg;
}

void db_close(struct db *d)
{
    if (!d)
        return;
    drop_connection(d);
    free(d->conninfo);
    free(d->name);
    free(d);
}

/* Takes the results of one statement in a pipeline; a failure is kept in *s, which stays the first one. `last`: the last column. */
static void take_piped(struct db *d, enum status *s, char last[64])
{
    PGresult *r;

    while (d->conn && (r = PQgetResult(d->conn))) {
        ExecStatusType st = PQresultStatus(r);

        if (st == PGRES_FATAL_ERROR && *s == STATUS_OK)
            *s = failed(d, r);
        if (st == PGRES_TUPLES_OK)
            copy_text(last, 64, PQgetvalue(r, 0, PQnfields(r) - 1));
        PQclear(r);
        if (st == PGRES_PIPELINE_SYNC)
            break;
    }
}

#define SETTINGS                                                                 \
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), " \
    "pg_catalog.set_config('tollgate.tenant_id', $1, true), "                    \
    "pg_catalog.set_config('statement_timeout', $2, true), "                     \
    "pg_catalog.set_config('TimeZone', 'UTC', true), "                           \
    "pg_catalog.set_config('DateStyle', 'ISO', true)"

/*
 * BEGIN and the transaction's settings, one round trip. Statements look in PostgreSQL's own schema alone and name every table with its
 * schema: in public, roles of the host's may put operators and functions that fit better than PostgreSQL's own.
 */
static enum status send_begin(struct db *d, const char *begin, const char *tenant)
{
    const char *settings = d->expected ? SETTINGS ", " VERSION_OF_DATABASE : SETTINGS;
    char timeout[24], last[64] = "";
    const char *params[] = {tenant ? tenant : "", timeout};
    enum status s = STATUS_OK;

    snprintf(timeout, sizeof(timeout), "%ds", d->statement_timeout_s);
    if (!PQenterPipelineMode(d->conn) || !PQsendQueryParams(d->conn, begin, 0, NULL, NULL, NULL, NULL, 0) ||
        !PQsendQueryParams(d->conn, settings, 2, NULL, params, NULL, NULL, 0) || !PQpipelineSync(d->conn))
        return lost(d);
    take_piped(d, &s, last);
    take_piped(d, &s, last);
    take_piped(d, &s, last);
    if (d->conn && (PQstatus(d->conn) != CONNECTION_OK || !PQexitPipelineMode(d->conn)))
        s = lost(d);
    return d->expected && d->conn ? compare_version(d, s, last) : s;
}

/* Connected and in no transaction. *fresh: the connection was made just now. */
static enum status be_idle(struct db *d, bool *fresh)
{
    forget_error(d);
    if (d->conn && PQtransactionStatus(d->conn) != PQTRANS_IDLE)
        drop_connection(d); /* a transaction left open, or a dead connection: never mix it with a new one */
    *fresh = !d->conn;
    return d->conn ? STATUS_OK : connect_now(d);
}

static enum status start(struct db *d, const char *begin, const char *tenant)
{
    bool fresh;
    enum status s = be_idle(d, &fresh);

    if (s != STATUS_OK)
        return s;
    s = send_begin(d, begin, tenant);
    if (s == STATUS_UNAVAILABLE && !fresh) { /* it died while idle: nothing was sent that could be lost */
        forget_error(d);
        if ((s = connect_now(d)) == STATUS_OK)
            s = send_begin(d, begin, tenant);
    }
    if (s != STATUS_OK && d->conn)
        db_rollback(d);
    return s;
}

enum status db_begin(struct db *d, const char *tenant)
{
    return start(d, "BEGIN", tenant);
}

enum status db_begin_snapshot(struct db *d, bool writes)
{
    return start(
        d, writes ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL);
}

enum status db_commit(struct db *d)
{
    enum status s = STATUS_CONFLICT;
    PGresult *r;

    if (!d->conn)
        return STATUS_UNAVAILABLE;
    r = PQexec(d->conn, "COMMIT");
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        s = failed(d, r);
    else if (strcmp(PQcmdStatus(r), "COMMIT") == 0)
        s = STATUS_OK; /* a failed transaction answers ROLLBACK */
    PQclear(r);
    return s;
}

void db_rollback(struct db *d)
{
    PGresult *r;

    if (!d->conn)
        return;
    r = PQexec(d->conn, "ROLLBACK");
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        drop_connection(d);
    PQclear(r);
}

/* Hands the result on when the statement succeeded, else frees it. */
static enum status finish(struct db *d, PGresult *r, struct db_rows **rows)
{
    ExecStatusType st = PQresultStatus(r);

    if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK && st != PGRES_EMPTY_QUERY) {
        enum status s = r ? failed(d, r) : lost(d);

        PQclear(r);
        return s;
    }
    if (rows)
        *rows = (struct db_rows *)(void *)r;
    else
        PQclear(r);
    return STATUS_OK;
}

enum status db_query(struct db *d, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    if (!d->conn)
        return STATUS_UNAVAILABLE;
    forget_error(d);
    return finish(d, PQexecParams(d->conn, sql, (int)n, NULL, params, NULL, NULL, 0), rows);
}

enum status db_look(struct db *d, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    bool fresh;
    enum status s = be_idle(d, &fresh);

    if (s != STATUS_OK)
        return s;
    s = db_query(d, sql, n, params, rows);
    if (s == STATUS_UNAVAILABLE && !fresh && (s = connect_now(d)) == STATUS_OK) /* it died while idle */
        s = db_query(d, sql, n, params, rows);
    return s;
}

enum status db_run(struct db *d, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    struct db_rows *got = NULL;
    enum status s = db_begin(d, NULL);

    if (s == STATUS_OK) {
        s = db_query(d, sql, n, params, &got);
        if (s == STATUS_OK)
            s = db_commit(d);
        else
            db_rollback(d);
    }
    if (s == STATUS_OK && rows)
        *rows = got;
    else
        db_rows_free(got);
    return s;
}

enum status db_peek(struct db *d, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    enum status s = db_begin(d, NULL);

    if (s == STATUS_OK) {
        s = db_query(d, sql, n, params, rows);
        db_rollback(d);
    }
    return s;
}

enum status db_query_found(struct db *d, const char *sql, size_t n, const char *const params[], struct db_rows **rows)
{
    struct db_rows *found = NULL;
    enum status s = db_query(d, sql, n, params, &found);

    if (!s && db_count(found) == 0)
        s = STATUS_NOT_FOUND;
    if (!s && rows)
        *rows = found;
    else if (found)
        db_rows_free(found);
    return s;
}

const char *db_number(char out[DB_NUMBER_SIZE], int64_t number)
{
    snprintf(out, DB_NUMBER_SIZE, "%" PRId64, number);
    return out;
}

/* *rows only with STATUS_OK, and then there is one. */
static enum status ask_one(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[],
                           struct db_rows **rows)
{
    enum status s = ask(d, sql, n, params, rows);

    if (s != STATUS_OK || db_count(*rows) > 0)
        return s;
    db_rows_free(*rows);
    return STATUS_NOT_FOUND;
}

enum status db_get_int(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[],
                       int64_t *out)
{
    struct db_rows *rows;
    enum status s = ask_one(ask, d, sql, n, params, &rows);

    if (s == STATUS_OK) {
        *out = db_int(rows, 0, 0);
        db_rows_free(rows);
    }
    return s;
}

enum status db_get_bool(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[], bool *out)
{
    char text[2];
    enum status s = db_get_text(ask, d, sql, n, params, text, sizeof(text));

    if (s == STATUS_OK)
        *out = text[0] == 't';
    return s;
}

enum status db_get_text(db_ask_fn *ask, struct db *d, const char *sql, size_t n, const char *const params[], char *out,
                        size_t size)
{
    struct db_rows *rows;
    enum status s = ask_one(ask, d, sql, n, params, &rows);

    if (s == STATUS_OK) {
        snprintf(out, size, "%s", db_text(rows, 0, 0));
        db_rows_free(rows);
    }
    return s;
}

enum status db_script(struct db *d, const char *sql)
{
    if (!d->conn)
        return STATUS_UNAVAILABLE;
    forget_error(d);
    return finish(d, PQexec(d->conn, sql), NULL);
}

enum status db_connect(struct db *d)
{
    forget_error(d);
    return d->conn && PQstatus(d->conn) == CONNECTION_OK ? STATUS_OK : connect_now(d);
}

const char *db_sqlstate(const struct db *d)
{
    return d->sqlstate;
}

const char *db_error(const struct db *d)
{
    return d->error;
}

const char *db_detail(const struct db *d)
{
    return d->detail;
}

size_t db_count(const struct db_rows *r)
{
    return (size_t)PQntuples(result_of(r));
}

const char *db_text(const struct db_rows *r, size_t row, int column)
{
    const char *text = PQgetvalue(result_of(r), (int)row, column);

    return text ? text : "";
}

bool db_null(const struct db_rows *r, size_t row, int column)
{
    return PQgetisnull(result_of(r), (int)row, column) != 0;
}

int64_t db_int(const struct db_rows *r, size_t row, int column)
{
    return strtoll(db_text(r, row, column), NULL, 10);
}

double db_double(const struct db_rows *r, size_t row, int column)
{
    return strtod(db_text(r, row, column), NULL);
}

bool db_bool(const struct db_rows *r, size_t row, int column)
{
    return db_text(r, row, column)[0] == 't';
}

void db_rows_free(struct db_rows *r)
{
    PQclear((PGresult *)(void *)r);
}

enum status db_copy(struct db *d, const char *sql, const char *bytes, size_t length)
{
    const size_t most = 1u << 20; /* libpq takes an int */
    enum status s = STATUS_OK;
    PGresult *r;

    if (!d->conn)
        return STATUS_UNAVAILABLE;
    forget_error(d);
    r = PQexec(d->conn, sql);
    if (PQresultStatus(r) != PGRES_COPY_IN)
        s = r ? failed(d, r) : lost(d);
    PQclear(r);
    if (s != STATUS_OK)
        return s;
    for (size_t done = 0, n; done < length; done += n) {
        n = length - done < most ? length - done : most;
        if (PQputCopyData(d->conn, bytes + done, (int)n) != 1)
            return lost(d);
    }
    if (PQputCopyEnd(d->conn, NULL) != 1)
        return lost(d);
    while (d->conn && (r = PQgetResult(d->conn))) {
        if (PQresultStatus(r) != PGRES_COMMAND_OK && s == STATUS_OK)
            s = failed(d, r);
        PQclear(r);
    }
    return s;
}
