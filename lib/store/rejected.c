/* rejected.c: events that could not be stored */
#include "lib/store/rejected.h"

#include <inttypes.h>
#include <stdio.h>

#define CHOSEN                                                                         \
    "WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR reason = $2)" \
    " AND ($3::text IS NULL OR rejected_at >= $3::timestamptz) AND ($4::text IS NULL OR id = ANY ($4::bigint[])) "

enum status rejected_list(struct db *d, const struct rejected_choice *c, long long most, struct db_rows **rows)
{
    static const char sql[] =
        "SELECT id, to_char(rejected_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), tenant_id, metric_type, reason, "
        "to_char(recorded_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), node, lpad(to_hex(segment), 16, '0'), position, "
        "length(record) FROM tollgate.usage_rejected " CHOSEN "ORDER BY id DESC LIMIT $5::bigint";
    char limit[24];

    snprintf(limit, sizeof(limit), "%lld", most);
    return db_query(d, sql, 5, (const char *[]){c->tenant, c->reason, c->since, c->ids, limit}, rows);
}

enum status rejected_records(struct db *d, const struct rejected_choice *c, const char *node, int64_t after, int most,
                             struct db_rows **rows)
{
    static const char sql[] =
        "SELECT id, segment, position, encode(record, 'hex'), reason FROM tollgate.usage_rejected " CHOSEN
        "AND node = $5::uuid AND id > $6::bigint ORDER BY id LIMIT $7::integer";
    char behind[24], limit[16];

    snprintf(behind, sizeof(behind), "%" PRId64, after);
    snprintf(limit, sizeof(limit), "%d", most);
    return db_query(d, sql, 7, (const char *[]){c->tenant, c->reason, c->since, c->ids, node, behind, limit}, rows);
}

enum status rejected_nodes(struct db *d, const struct rejected_choice *c, struct db_rows **rows)
{
    static const char sql[] = "SELECT node, count(*) FROM tollgate.usage_rejected " CHOSEN
                              "GROUP BY node ORDER BY node";

    return db_query(d, sql, 4, (const char *[]){c->tenant, c->reason, c->since, c->ids}, rows);
}
