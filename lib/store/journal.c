/* journal.c: what the database knows of a node's spool */
#include "lib/store/journal.h"

#include <inttypes.h>
#include <stdio.h>

enum status journal_position(struct db *d, const char *node, uint64_t segment, uint64_t *position)
{
    static const char sql[] = "SELECT tollgate.segment_position($1::uuid, $2::bigint)";
    char number[24];
    struct db_rows *rows;
    enum status s;

    snprintf(number, sizeof(number), "%" PRId64, (int64_t)segment);
    if ((s = db_query(d, sql, 2, (const char *[]){node, number}, &rows)) != STATUS_OK)
        return s;
    *position = (uint64_t)db_int(rows, 0, 0);
    db_rows_free(rows);
    return s;
}

enum status journal_damage(struct db *d, const char *node, struct db_rows **rows)
{
    static const char sql[] =
        "SELECT segment, from_position, to_position, to_char(found_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
        "to_char(seen_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM tollgate.spool_damage WHERE node = $1::uuid "
        "ORDER BY segment, from_position";

    return db_query(d, sql, 1, (const char *[]){node}, rows);
}

enum status journal_damage_seen(struct db *d, int64_t *marked)
{
    struct db_rows *rows;
    enum status s = db_query(d, "UPDATE tollgate.node_rollbacks SET seen_at = now() WHERE seen_at IS NULL", 0, NULL,
                             NULL);

    if (s == STATUS_OK)
        s = db_query(d, "UPDATE tollgate.spool_damage SET seen_at = now() WHERE seen_at IS NULL", 0, NULL, &rows);

    if (s != STATUS_OK)
        return s;
    *marked = db_affected(rows);
    db_rows_free(rows);
    return s;
}
