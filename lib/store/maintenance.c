/* maintenance.c: periodic work in the database: midnights, overrides that end, tables that came, partitions ahead */
#include "lib/store/maintenance.h"

#define ROLLOVER_TENANTS "200"

enum status maintenance_rollover(struct db *d, char after[256])
{
    return db_get_text(db_run, d, "SELECT tollgate.rollover($1, " ROLLOVER_TENANTS ")", DB_WITH(after), after, 256);
}

enum status maintenance_expire_limits(struct db *d)
{
    return db_run(d, "SELECT tollgate.expire_limits()", DB_NOTHING, NULL);
}

enum status maintenance_settle_credits(struct db *d)
{
    return db_run(d, "SELECT tollgate.settle_credits(100)", DB_NOTHING, NULL);
}

enum status maintenance_attach_new(struct db *d, char left_out[256])
{
    left_out[0] = '\0';
    return db_get_text(db_run, d, "SELECT tollgate.attach_new(50)", DB_NOTHING, left_out, 256);
}

enum status maintenance_partitions(struct db *d, int months_ahead)
{
    static const char sql[] =
        "SELECT tollgate.ensure_partitions(now() - interval '1 month', now() + make_interval(months => $1::integer))";

    return db_run(d, sql, DB_WITH(DB_INT(months_ahead)), NULL);
}
