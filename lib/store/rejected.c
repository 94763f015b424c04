/* rejected.c: events that could not be stored */
#include "lib/store/rejected.h"

#define CHOSEN                                                                         \
    "WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR reason = $2)" \
    " AND ($3::text IS NULL OR rejected_at >= $3::timestamptz) AND ($4::text IS NULL OR id = ANY ($4::bigint[])) "

enum status rejected_list(struct db *d, const struct rejected_choice *c, long long most, struct db_rows **rows)
{
    static const char sql[] =
        "SELECT id, to_char(rejected_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), tenant_id, metric_type, reason, "
        "to_char(recorded_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), node, lpad(to_hex(segment), 16, '0'), position, "
        "length(record) FROM tollgate.usage_rejected " CHOSEN "ORDER BY id DESC LIMIT $5::bigint";

    return db_query(d, sql, DB_WITH(c->tenant, c->reason, c->since, c->ids, DB_INT(most)), rows);
}

enum status rejected_records(struct db *d, const struct rejected_choice *c, const char *node, int64_t after, int most,
                             struct db_rows **rows)
{
    static const char sql[] =
        "SELECT id, segment, position, encode(record, 'hex'), reason FROM tollgate.usage_rejected " CHOSEN
        "AND node = $5::uuid AND id > $6::bigint ORDER BY id LIMIT $7::integer";

    return db_query(d, sql, DB_WITH(c->tenant, c->reason, c->since, c->ids, node, DB_INT(after), DB_INT(most)), rows);
}

enum status rejected_nodes(struct db *d, const struct rejected_choice *c, struct db_rows **rows)
{
    static const char sql[] = "SELECT node, count(*) FROM tollgate.usage_rejected " CHOSEN
                              "GROUP BY node ORDER BY node";

    return db_query(d, sql, DB_WITH(c->tenant, c->reason, c->since, c->ids), rows);
}
