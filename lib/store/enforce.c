/* enforce.c: whether the database itself refuses rows beyond a tenant's plan */
#include "lib/store/enforce.h"

enum status enforce_set(struct db *d, const char *tenant, bool on)
{
    const char *params[] = {tenant, on ? "true" : "false"};

    return db_query(d, "SELECT tollgate.enforce($1, $2::boolean)", 2, params, NULL);
}

enum status enforce_list(struct db *d, struct db_rows **rows)
{
    static const char sql[] = "SELECT tenant_id, enforced, metric, trim_scale(max), trim_scale(used), why "
                              "FROM tollgate.enforcement() ORDER BY 1, 3";

    return db_query(d, sql, 0, NULL, rows);
}

enum status enforce_tenants(struct db *d, struct db_rows **rows)
{
    return db_query(d, "SELECT tenant_id FROM tollgate.tenant_settings ORDER BY 1", 0, NULL, rows);
}
