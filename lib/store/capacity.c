/* capacity.c: what is there against what the limit table has room for */
#include "lib/store/capacity.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/meter/limit_table/limit_table.h"

enum status capacity_check(struct db *d, int64_t metrics, int64_t limits, char full[CAPACITY_TEXT])
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM tollgate.usage_metrics), (SELECT count(*) FROM tollgate.usage_limit_keys)";
    struct db_rows *rows;
    enum status s = db_script(d, "LOCK TABLE tollgate.usage_metrics IN SHARE ROW EXCLUSIVE MODE");

    if (s == STATUS_OK)
        s = db_query(d, sql, 0, NULL, &rows);
    if (s != STATUS_OK)
        return s;
    int64_t n_metrics = db_int(rows, 0, 0), n_limits = db_int(rows, 0, 1);
    db_rows_free(rows);
    if (n_metrics + metrics <= LIMIT_TABLE_METRICS && (!limits || n_limits + limits <= LIMIT_TABLE_LIMITS))
        return STATUS_OK;
    snprintf(full, CAPACITY_TEXT,
             "there are %" PRId64 " metrics and %" PRId64
             " limits, and the limit table has room for %d and %d; remove one that is not used (tollgate metric list, "
             "tollgate metric remove)",
             n_metrics, n_limits, LIMIT_TABLE_METRICS, LIMIT_TABLE_LIMITS);
    return STATUS_LIMIT;
}

/* What tenants need of the limit table's places: each some for its limits, and one more for credits and for limits of keys. */
struct places {
    int64_t tenants, limits, each, credits;
};

static enum status read_places(struct db *d, struct places *p)
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM tollgate.tenants), (SELECT count(*) FROM tollgate.usage_limit_keys),"
        " (SELECT count(DISTINCT tenant_id) FROM tollgate.usage_credits) + (SELECT count(DISTINCT k.tenant_id)"
        " FROM tollgate.key_limits l JOIN tollgate.api_keys k ON k.id = l.key_id)";
    struct db_rows *rows;
    enum status s = db_query(d, sql, 0, NULL, &rows);

    if (s != STATUS_OK)
        return s;
    *p = (struct places){db_int(rows, 0, 0), db_int(rows, 0, 1), 0, db_int(rows, 0, 2)};
    p->each = limit_table_places((uint32_t)p->limits);
    db_rows_free(rows);
    return s;
}

enum status capacity_tenant(struct db *d, char full[CAPACITY_TEXT])
{
    struct places p;
    enum status s = read_places(d, &p);

    if (s != STATUS_OK)
        return s;
    int64_t most = (LIMIT_TABLE_PLACES - p.credits) / p.each;
    if (p.tenants < most)
        return STATUS_OK;
    snprintf(full, CAPACITY_TEXT,
             "there are %" PRId64 " tenants and %" PRId64
             " limits, and with so many limits the limit table has room for %" PRId64
             " tenants; remove one that is not used (tollgate tenant remove)",
             p.tenants, p.limits, most);
    return STATUS_LIMIT;
}

enum status capacity_credit(struct db *d, char full[CAPACITY_TEXT])
{
    struct places p;
    enum status s = read_places(d, &p);

    if (s != STATUS_OK || p.tenants * p.each + p.credits < LIMIT_TABLE_PLACES)
        return s;
    snprintf(full, CAPACITY_TEXT,
             "%" PRId64 " tenants with %" PRId64 " limits, and the credits of %" PRId64
             " of them, take all of the limit table; remove a tenant that is not used (tollgate tenant remove)",
             p.tenants, p.limits, p.credits);
    return STATUS_LIMIT;
}

enum status capacity_key(struct db *d, char full[CAPACITY_TEXT])
{
    struct db_rows *rows;
    enum status s = db_query(d, "SELECT count(*) FROM tollgate.api_keys", 0, NULL, &rows);

    if (s != STATUS_OK)
        return s;
    int64_t keys = db_int(rows, 0, 0);
    db_rows_free(rows);
    if (keys < LIMIT_TABLE_KEYS)
        return STATUS_OK;
    snprintf(full, CAPACITY_TEXT,
             "there are %" PRId64
             " keys, with those that were revoked, and the limit table has room for %u; a tenant that "
             "is removed (tollgate tenant remove) takes its keys along",
             keys, LIMIT_TABLE_KEYS);
    return STATUS_LIMIT;
}
