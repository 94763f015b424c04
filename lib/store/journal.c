/* journal.c: what the database knows of a node's spool */
#include "lib/store/journal.h"

enum status journal_position(struct db *d, const char *node, uint64_t segment, uint64_t *position)
{
    int64_t found = 0;
    enum status s = db_get_int(db_query, d, "SELECT tollgate.segment_position($1::uuid, $2::bigint)",
                               DB_WITH(node, DB_INT((int64_t)segment)), &found);

    if (s == STATUS_OK)
        *position = (uint64_t)found;
    return s;
}

enum status journal_damage(struct db *d, const char *node, struct db_rows **rows)
{
    static const char sql[] =
        "SELECT segment, from_position, to_position, to_char(found_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
        "to_char(seen_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM tollgate.spool_damage WHERE node = $1::uuid "
        "ORDER BY segment, from_position";

    return db_query(d, sql, DB_WITH(node), rows);
}

enum status journal_damage_seen(struct db *d, int64_t *marked)
{
    static const char sql[] =
        "WITH rollbacks AS (UPDATE tollgate.node_rollbacks SET seen_at = now() WHERE seen_at IS NULL), "
        "damage AS (UPDATE tollgate.spool_damage SET seen_at = now() WHERE seen_at IS NULL RETURNING 1) "
        "SELECT count(*) FROM damage";

    return db_get_int(db_query, d, sql, DB_NOTHING, marked);
}
