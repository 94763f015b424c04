/* accounts.c: who may sign in, and who has */
#include "lib/store/accounts.h"

#include <stdio.h>

#define COLUMNS                                                                                                        \
    "SELECT a.email, a.tenant_id, a.role, to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')," \
    " to_char(a.signed_in_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"                                   \
    " (SELECT count(*) FROM tollgate.account_sessions s WHERE s.account_id = a.id) FROM tollgate.accounts a"

static const char list_sql[] = COLUMNS " WHERE $1::text IS NULL OR a.tenant_id = $1 ORDER BY a.tenant_id, a.email";
static const char show_sql[] = COLUMNS " WHERE a.email = lower($1)";
static const char insert_sql[] =
    "INSERT INTO tollgate.accounts (email, tenant_id, role, password_hash) VALUES (lower($1), $2, $3, $4)";
static const char change_sql[] =
    "UPDATE tollgate.accounts SET email = coalesce(lower($2), email), role = coalesce($3, role),"
    " password_hash = coalesce($4, password_hash) WHERE email = lower($1) RETURNING id";
static const char sign_out_sql[] = "DELETE FROM tollgate.account_sessions WHERE account_id = $1";
static const char remove_sql[] = "DELETE FROM tollgate.accounts WHERE email = lower($1) RETURNING id";

static const char find_sql[] = "SELECT id, $1::text, role, tenant_id, password_hash FROM tollgate.account_by_email($1)";

static const char lookup_sql[] =
    "SELECT account_id, email, role, tenant_id, '' FROM tollgate.session_find($1::bytea, $2::int, $3::int)";

enum status accounts_list(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query(d, list_sql, DB_WITH(tenant), rows);
}

enum status accounts_show(struct db *d, const char *email, struct db_rows **rows)
{
    return db_query_found(d, show_sql, DB_WITH(email), rows);
}

enum status accounts_create(struct db *d, const char *email, const char *tenant, const char *role, const char *hash)
{
    enum status s = db_query(d, insert_sql, DB_WITH(email, tenant, role, hash), NULL);

    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status accounts_change(struct db *d, const char *email, const char *new_email, const char *role, const char *hash)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, change_sql, DB_WITH(email, new_email, role, hash), &rows);

    if (s)
        return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
    s = db_query(d, sign_out_sql, DB_WITH(db_text(rows, 0, 0)), NULL);
    db_rows_free(rows);
    return s;
}

enum status accounts_remove(struct db *d, const char *email)
{
    return db_query_found(d, remove_sql, DB_WITH(email), NULL);
}

/* Of a statement that gives id, email, role, tenant and password hash. */
static enum status read_account(struct db *d, const char *sql, size_t n, const char *const params[],
                                struct account *out)
{
    struct db_rows *rows = NULL;
    enum status s = db_query_found(d, sql, n, params, &rows);

    if (s == STATUS_OK) {
        *out = (struct account){.id = db_int(rows, 0, 0)};
        snprintf(out->email, sizeof(out->email), "%s", db_text(rows, 0, 1));
        snprintf(out->role, sizeof(out->role), "%s", db_text(rows, 0, 2));
        snprintf(out->tenant, sizeof(out->tenant), "%s", db_text(rows, 0, 3));
        snprintf(out->password_hash, sizeof(out->password_hash), "%s", db_text(rows, 0, 4));
    }
    db_rows_free(rows);
    return s;
}

enum status account_find(struct db *d, const char *email, struct account *out)
{
    return read_account(d, find_sql, 1, &email, out);
}

enum status account_set_password(struct db *d, const char *token_hash, const char *hash)
{
    return db_query(d, "SELECT tollgate.account_password($1::bytea, $2)", DB_WITH(token_hash, hash), NULL);
}

enum status account_renew_hash(struct db *d, const struct account *account, const char *hash)
{
    return db_query(d, "SELECT tollgate.account_renew_hash($1::bigint, $2, $3)",
                    DB_WITH(DB_INT(account->id), account->password_hash, hash), NULL);
}

/* ---- sessions, and the tries to begin one ---- */

enum status session_store(struct db *d, const char *token_hash, int64_t account)
{
    return db_query(d, "SELECT tollgate.session_open($1::bytea, $2::bigint)", DB_WITH(token_hash, DB_INT(account)),
                    NULL);
}

enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                           struct account *out)
{
    return read_account(d, lookup_sql, DB_WITH(token_hash, DB_INT(idle_s), DB_INT(absolute_s)), out);
}

enum status session_remove(struct db *d, const char *token_hash)
{
    return db_query(d, "SELECT tollgate.session_close($1::bytea)", DB_WITH(token_hash), NULL);
}

enum status signin_try(struct db *d, const char *account, const char *address, int64_t *seconds)
{
    return db_get_int(db_query, d, "SELECT tollgate.signin_try($1::bytea, $2::bytea)", DB_WITH(account, address),
                      seconds);
}

enum status signin_ok(struct db *d, const char *account, const char *address)
{
    return db_query(d, "SELECT tollgate.signin_ok($1::bytea, $2::bytea)", DB_WITH(account, address), NULL);
}
