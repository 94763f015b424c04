/* session.c: sessions of the pages, and the tries to begin one */
#include "lib/store/session.h"

#include <inttypes.h>
#include <stdio.h>

static const char lookup_sql[] =
    "SELECT account_id, email, role, tenant_id, '' FROM tollgate.session_find($1::bytea, $2::int, $3::int)";

enum status session_store(struct db *d, const char *token_hash, int64_t account)
{
    char id[24];
    const char *params[] = {token_hash, id};

    snprintf(id, sizeof(id), "%" PRId64, account);
    return db_query(d, "SELECT tollgate.session_open($1::bytea, $2::bigint)", 2, params, NULL);
}

enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                           struct account *out)
{
    char idle[24], absolute[24];
    const char *params[] = {token_hash, idle, absolute};

    snprintf(idle, sizeof(idle), "%" PRId64, idle_s);
    snprintf(absolute, sizeof(absolute), "%" PRId64, absolute_s);
    return accounts_read(d, lookup_sql, 3, params, out);
}

enum status session_remove(struct db *d, const char *token_hash)
{
    return db_query(d, "SELECT tollgate.session_close($1::bytea)", 1, &token_hash, NULL);
}

enum status signin_try(struct db *d, const char *account, const char *address, int64_t *seconds)
{
    const char *params[] = {account, address};
    struct db_rows *rows = NULL;
    enum status s = db_query(d, "SELECT tollgate.signin_try($1::bytea, $2::bytea)", 2, params, &rows);

    if (s == STATUS_OK)
        *seconds = db_int(rows, 0, 0);
    db_rows_free(rows);
    return s;
}

enum status signin_ok(struct db *d, const char *account, const char *address)
{
    const char *params[] = {account, address};

    return db_query(d, "SELECT tollgate.signin_ok($1::bytea, $2::bytea)", 2, params, NULL);
}
