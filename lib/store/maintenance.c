/* maintenance.c: periodic work in the database: midnights, overrides that end, tables that came, partitions ahead */
#include "lib/store/maintenance.h"

#include <stdio.h>

#define ROLLOVER_TENANTS "200"

enum status maintenance_rollover(struct db *d, char after[256])
{
    struct db_rows *rows = NULL;
    enum status s = db_run(d, "SELECT tollgate.rollover($1, " ROLLOVER_TENANTS ")", 1, (const char *[]){after}, &rows);

    if (s != STATUS_OK)
        return s;
    snprintf(after, 256, "%s", db_null(rows, 0, 0) ? "" : db_text(rows, 0, 0));
    db_rows_free(rows);
    return STATUS_OK;
}

enum status maintenance_expire_limits(struct db *d)
{
    return db_run(d, "SELECT tollgate.expire_limits()", 0, NULL, NULL);
}

enum status maintenance_attach_new(struct db *d, char left_out[256])
{
    struct db_rows *got = NULL;
    enum status s = db_run(d, "SELECT tollgate.attach_new(50)", 0, NULL, &got);

    left_out[0] = '\0';
    if (s == STATUS_OK && !db_null(got, 0, 0))
        snprintf(left_out, 256, "%s", db_text(got, 0, 0));
    db_rows_free(got);
    return s;
}

enum status maintenance_partitions(struct db *d, int months_ahead)
{
    static const char sql[] =
        "SELECT tollgate.ensure_partitions(now() - interval '1 month', now() + make_interval(months => $1::integer))";
    char ahead[16];

    snprintf(ahead, sizeof(ahead), "%d", months_ahead);
    return db_run(d, sql, 1, (const char *[]){ahead}, NULL);
}
