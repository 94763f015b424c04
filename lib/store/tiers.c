/* tiers.c: plans and their limits for the command line */
#include "lib/store/tiers.h"

#define COLUMNS                                                                                             \
    "SELECT r.id, r.name, (SELECT count(*) FROM tollgate.subscriptions s WHERE s.tier_id = r.id), r.limits" \
    " FROM tollgate.tiers r"

static const char list_sql[] = COLUMNS " ORDER BY r.id";
static const char show_sql[] = COLUMNS " WHERE r.id = $1";
static const char insert_sql[] = "SELECT tollgate.create_tier($1, $2)";
static const char rename_sql[] = "SELECT WHERE tollgate.rename_tier($1, $2)";
static const char limit_sql[] = "SELECT WHERE tollgate.put_tier_limit($1, $2, $3::numeric)";
static const char remove_sql[] = "SELECT WHERE tollgate.remove_tier($1)";

enum status tiers_list(struct db *d, struct db_rows **rows)
{
    return db_query(d, list_sql, DB_NOTHING, rows);
}

enum status tiers_show(struct db *d, const char *id, struct db_rows **rows)
{
    return db_query_found(d, show_sql, DB_WITH(id), rows);
}

enum status tiers_create(struct db *d, const char *id, const char *name)
{
    enum status s = db_query(d, insert_sql, DB_WITH(id, name), NULL);

    return s == STATUS_CONFLICT ? STATUS_EXISTS : s;
}

enum status tiers_rename(struct db *d, const char *id, const char *name)
{
    return db_query_found(d, rename_sql, DB_WITH(id, name), NULL);
}

enum status tiers_set_limit(struct db *d, const char *id, const char *key, const char *number)
{
    return db_query_found(d, limit_sql, DB_WITH(id, key, number), NULL);
}

enum status tiers_remove(struct db *d, const char *id)
{
    return db_query_found(d, remove_sql, DB_WITH(id), NULL);
}
