/* keys.c: programs' keys for the command line */
#include "lib/store/keys.h"

#define UTC(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
/* "90d" or a timestamp */
#define EXPIRY(param)                                                                                \
    "CASE WHEN " param " ~ '^[0-9]{1,5}d$' THEN now() + left(" param ", -1)::int * interval '1 day'" \
    " WHEN " param " <> 'never' THEN " param "::timestamptz END"
#define COLUMNS                                                                                               \
    "SELECT k.id, k.name, k.tenant_id, array_to_string(k.scopes, ','), " UTC("k.created_at") ", " UTC(        \
        "k.expires_at") ", " UTC("k.last_used_at") ","                                                        \
                                                   " CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN " \
                                                   "k.expires_at <= now() THEN 'expired' ELSE 'active' END"   \
                                                   " FROM tollgate.api_keys k"

static const char list_sql[] = COLUMNS " WHERE $1::text IS NULL OR k.tenant_id = $1 ORDER BY k.tenant_id, k.created_at";
static const char show_sql[] = COLUMNS " WHERE k.id = $1";
static const char insert_sql[] = "INSERT INTO tollgate.api_keys (id, hash, name, tenant_id, scopes, expires_at)"
                                 " VALUES ($1, decode($2, 'hex'), $3, $4, string_to_array($5, ','), " EXPIRY(
                                     "$6::text") ")";
static const char change_sql[] =
    "UPDATE tollgate.api_keys SET name = coalesce($2, name), scopes = coalesce(string_to_array($3, ','), scopes),"
    " expires_at = CASE WHEN $4::text IS NULL THEN expires_at ELSE " EXPIRY("$4::text") " END"
                                                                                        " WHERE id = $1 RETURNING id";
static const char revoke_sql[] =
    "UPDATE tollgate.api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id";

enum status keys_list(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query(d, list_sql, DB_WITH(tenant), rows);
}

enum status keys_show(struct db *d, const char *id, struct db_rows **rows)
{
    return db_query_found(d, show_sql, DB_WITH(id), rows);
}

enum status keys_create(struct db *d, const char *id, const char *hash, const char *name, const char *tenant,
                        const char *scopes, const char *expires, char full[CAPACITY_TEXT])
{
    enum status s = capacity_key(d, full);

    if (s == STATUS_OK)
        s = db_query(d, insert_sql, DB_WITH(id, hash, name, tenant, scopes, expires), NULL);
    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status keys_change(struct db *d, const char *id, const char *name, const char *scopes, const char *expires)
{
    return db_query_found(d, change_sql, DB_WITH(id, name, scopes, expires), NULL);
}

enum status keys_revoke(struct db *d, const char *id)
{
    return db_query_found(d, revoke_sql, DB_WITH(id), NULL);
}
