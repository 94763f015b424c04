/* session.c: sessions of the pages, and the tries to begin one */
#include "lib/store/session.h"

static const char lookup_sql[] =
    "SELECT account_id, email, role, tenant_id, '' FROM tollgate.session_find($1::bytea, $2::int, $3::int)";

enum status session_store(struct db *d, const char *token_hash, int64_t account)
{
    return db_query(d, "SELECT tollgate.session_open($1::bytea, $2::bigint)", DB_WITH(token_hash, DB_INT(account)),
                    NULL);
}

enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                           struct account *out)
{
    return accounts_read(d, lookup_sql, DB_WITH(token_hash, DB_INT(idle_s), DB_INT(absolute_s)), out);
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
