/* limits.c: limits that an operator sets */
#include "lib/store/limits.h"

#define UTC(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char tenant_sql[] = "SELECT tollgate.set_tenant_limit($1, $2, $3, $4, $5, $6, $7, $8)";
static const char tier_sql[] = "SELECT tollgate.set_tier_limit($1, $2, $3, $4, $5, $6, $7)";
static const char key_sql[] = "SELECT tollgate.set_key_limit($1, $2, $3, $4, $5, $6, $7, $8)";
static const char over_sql[] = "SELECT tenant_id, limit_key, trim_scale(used), trim_scale(max), mode"
                               " FROM tollgate.over_limit($1, $2, $3)";
static const char list_sql[] =
    "SELECT kind, id, limit_key, max, used, source, mode, grace_percent, " UTC("grace_until") ", " UTC(
        "expires_at") ", reason FROM (SELECT l.*, 1 AS part FROM tollgate.listed_limits($1, $2) l WHERE $3::text IS NULL"
                      " UNION ALL SELECT k.*, 2 FROM tollgate.listed_key_limits($3, $1) k WHERE $2::text IS NULL) x ORDER BY part";

enum status limits_set(struct db *d, const struct limit_owner *of, const char *limit, const struct limit_values *v)
{
    if (!of->tier)
        return db_query(d, of->key ? key_sql : tenant_sql,
                        DB_WITH(of->key ? of->key : of->tenant, limit, v->number, v->mode, v->grace_percent,
                                v->grace_until, v->expires, v->reason),
                        NULL);
    return db_query(d, tier_sql,
                    DB_WITH(of->tier, limit, v->number, v->mode, v->grace_percent, v->grace_until, v->reason), NULL);
}

enum status limits_remove(struct db *d, const struct limit_owner *of, const char *limit)
{
    if (of->tenant)
        return db_query(d, "SELECT tollgate.remove_tenant_limit($1, $2)", DB_WITH(of->tenant, limit), NULL);
    if (of->key)
        return db_query(d, "SELECT tollgate.remove_key_limit($1, $2)", DB_WITH(of->key, limit), NULL);
    return db_query(d, "SELECT tollgate.remove_tier_limit($1, $2)", DB_WITH(of->tier, limit), NULL);
}

enum status limits_grant(struct db *d, const char *tenant, const char *limit, const char *amount, const char *until,
                         const char *reason, struct db_rows **rows, char full[CAPACITY_TEXT])
{
    enum status s = capacity_credit(d, full);

    return s ? s
             : db_query(d, "SELECT tollgate.grant_credit($1, $2, $3, $4, $5)",
                        DB_WITH(tenant, limit, amount, until, reason), rows);
}

enum status limits_take_back(struct db *d, const char *tenant, const char *credit)
{
    return db_query(d, "SELECT tollgate.take_back_credit($1, $2)", DB_WITH(tenant, credit), NULL);
}

enum status limits_over(struct db *d, const struct limit_owner *of, const char *limit, struct db_rows **rows)
{
    return db_query(d, over_sql, DB_WITH(limit, of->tier, of->tenant), rows);
}

enum status limits_list(struct db *d, const struct limit_owner *of, struct db_rows **rows)
{
    return db_query(d, list_sql, DB_WITH(of->tenant, of->tier, of->key), rows);
}

struct limit limits_row(const struct db_rows *rows, size_t row, int first, uint8_t window)
{
    return (struct limit){.max = db_null(rows, row, first) ? LIMIT_UNLIMITED : db_int(rows, row, first),
                          .until_us = db_null(rows, row, first + 1) ? LIMIT_NEVER : db_int(rows, row, first + 1),
                          .max_after = db_int(rows, row, first + 2),
                          .mode = (uint8_t)limit_mode_of(db_text(rows, row, first + 3)),
                          .grace_percent = (int32_t)db_int(rows, row, first + 4),
                          .grace_until_us = db_int(rows, row, first + 5),
                          .window = window};
}
