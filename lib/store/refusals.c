/* refusals.c: what limits refused, by tenant and hour */
#include "lib/store/refusals.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/base/buffer.h"

#define LIST_MAX (16u << 20)
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static const char put_sql[] = "SELECT tollgate.put_refusals($1::bigint, $2::jsonb)";

/* The zone of the period that runs now is that of the days. */
static const char list_sql[] =
    "SELECT to_char(r.hour AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), r.limit_key, k.label, k.limit_window, r.refused "
    "FROM (SELECT x.hour, x.limit_key, sum(x.refused)::bigint AS refused FROM tollgate.usage_refusals x "
    " CROSS JOIN (SELECT tollgate.day_of(now(), p.time_zone) AS today, p.time_zone AS zone FROM tollgate.tenant_periods p "
    "  WHERE p.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now() OFFSET 0) z "
    " WHERE x.tenant_id = $1 "
    " AND x.hour >= (SELECT tollgate.day_start(coalesce($2::date, $3::date - 6, z.today - 6), z.zone)) "
    " AND x.hour < (SELECT tollgate.day_start(coalesce($3::date, z.today) + 1, z.zone)) GROUP BY 1, 2) r "
    "LEFT JOIN tollgate.usage_limit_keys k ON k.limit_key = r.limit_key "
    "ORDER BY r.hour DESC, r.refused DESC, r.limit_key LIMIT " TEXT(REFUSALS_MOST);
static const char lately_sql[] =
    "SELECT r.limit_key, k.label, k.limit_window, r.refused, to_char(r.last AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
    "to_char(r.last AT TIME ZONE coalesce((SELECT p.time_zone FROM tollgate.tenant_periods p WHERE p.tenant_id = $1 "
    " AND p.starts_at <= now() AND p.ends_at > now()), 'UTC'), 'HH24:MI') "
    "FROM (SELECT x.limit_key, sum(x.refused)::bigint AS refused, max(x.hour) AS last FROM tollgate.usage_refusals x "
    " WHERE x.tenant_id = $1 AND x.hour > now() - interval '24 hours' GROUP BY 1) r "
    "LEFT JOIN tollgate.usage_limit_keys k ON k.limit_key = r.limit_key ORDER BY r.refused DESC, r.limit_key";

static void put_text(struct buffer *b, const char *text)
{
    buffer_text(b, "\"");
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20) {
            buffer_format(b, "\\u%04x", (unsigned)*text);
            continue;
        }
        if (*text == '"' || *text == '\\')
            buffer_add(b, "\\", 1);
        buffer_add(b, text, 1);
    }
    buffer_text(b, "\"");
}

enum status refusals_put(struct db *d, uint64_t table, const struct refusal *list, size_t n)
{
    struct buffer b;
    char number[24];
    enum status s = STATUS_NO_MEMORY;

    buffer_init(&b, LIST_MAX);
    for (size_t i = 0; i < n; i++) {
        buffer_text(&b, i ? ",[" : "[[");
        put_text(&b, list[i].tenant);
        buffer_text(&b, ",");
        put_text(&b, list[i].limit_key);
        buffer_format(&b, ",%" PRId64 ",%" PRIu64 "]", list[i].hour_us, list[i].refused);
    }
    buffer_text(&b, n ? "]" : "[]");
    snprintf(number, sizeof(number), "%" PRId64, (int64_t)table);
    if (!b.failed)
        s = db_run(d, put_sql, 2, (const char *[]){number, b.data}, NULL);
    buffer_term(&b);
    return s;
}

enum status refusals_list(struct db *d, const char *tenant, const char *from, const char *to, struct db_rows **rows)
{
    return db_query(d, list_sql, 3, (const char *[]){tenant, from, to}, rows);
}

enum status refusals_lately(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query(d, lately_sql, 1, &tenant, rows);
}
