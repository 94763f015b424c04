/* tiers.c: plans and their limits for the command line */
#include "lib/store/tiers.h"

#define COLUMNS                                                                                             \
    "SELECT r.id, r.name, (SELECT count(*) FROM tollgate.subscriptions s WHERE s.tier_id = r.id), r.limits" \
    " FROM tollgate.tiers r"

static const char list_sql[] = COLUMNS " ORDER BY r.id";
static const char show_sql[] = COLUMNS " WHERE r.id = $1";
static const char insert_sql[] = "INSERT INTO public.subscription_tiers (id, name) VALUES ($1, $2)";
static const char rename_sql[] =
    "UPDATE public.subscription_tiers SET name = coalesce($2, name) WHERE id = $1 RETURNING id";
static const char limit_sql[] =
    "UPDATE public.subscription_tiers r SET limits = CASE WHEN $3::numeric IS NULL THEN r.limits - $2::text"
    " ELSE r.limits || jsonb_build_object($2::text, $3::numeric) END"
    " FROM tollgate.usage_limit_keys k WHERE r.id = $1 AND k.limit_key = $2 RETURNING r.id";
static const char remove_sql[] = "DELETE FROM public.subscription_tiers WHERE id = $1 RETURNING id";

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
