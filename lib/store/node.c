/* node.c: the nodes that bring events: whose start is in force, and how they fare */
#include "lib/store/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void hex(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

const char *node_token_text(const unsigned char *token, char out[NODE_TOKEN_TEXT])
{
    if (!token)
        return NULL;
    memcpy(out, "\\x", 2);
    hex(out + 2, token, 16);
    return out;
}

enum status node_take(struct db *d, const struct spool_node *node, const unsigned char *pending,
                      const unsigned char next[16], const char *host, bool take_over, char where[256])
{
    static const char find[] = "SELECT host, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), "
                               "token = $2::bytea OR token = $3::bytea OR token = '\\x' OR $4::boolean "
                               "FROM tollgate.collector_nodes WHERE node = $1::uuid FOR UPDATE";
    static const char put[] =
        "INSERT INTO tollgate.collector_nodes (node, token, host) VALUES ($1::uuid, $2::bytea, $3) "
        "ON CONFLICT (node) DO UPDATE SET token = excluded.token, host = excluded.host, "
        "started_at = now(), seen_at = now()";
    char id[SPOOL_NODE_TEXT], a[NODE_TOKEN_TEXT], b[NODE_TOKEN_TEXT], c[NODE_TOKEN_TEXT];
    const char *look[] = {id, node_token_text(node->token, a), node_token_text(pending, b),
                          take_over ? "true" : "false"};
    const char *params[] = {id, node_token_text(next, c), host};
    struct db_rows *rows = NULL;
    enum status s = db_begin(d, NULL);

    spool_node_text(node, id);
    where[0] = '\0';
    if (s != STATUS_OK)
        return s;
    if ((s = db_query(d, find, 4, look, &rows)) == STATUS_OK) {
        if (db_count(rows) > 0 && !db_bool(rows, 0, 2)) {
            snprintf(where, 256, "on %s, %s", db_text(rows, 0, 0)[0] ? db_text(rows, 0, 0) : "an unnamed host",
                     db_text(rows, 0, 1));
            s = STATUS_CONFLICT;
        }
        db_rows_free(rows);
    }
    if (s == STATUS_OK)
        s = db_query(d, put, 3, params, NULL);
    if (s == STATUS_OK)
        return db_commit(d);
    db_rollback(d);
    return s;
}

enum status node_report(struct db *d, const struct spool_node *node, uint64_t lag_events, double lag_seconds,
                        uint64_t spool_bytes)
{
    char id[SPOOL_NODE_TEXT], events[24], seconds[40], bytes[24];

    spool_node_text(node, id);
    snprintf(events, sizeof(events), "%" PRIu64, lag_events);
    snprintf(seconds, sizeof(seconds), "%.3f", lag_seconds);
    snprintf(bytes, sizeof(bytes), "%" PRIu64, spool_bytes);
    return db_run(
        d,
        "UPDATE tollgate.collector_nodes SET seen_at = now(), lag_events = $2::bigint, lag_seconds = $3::float8, "
        "spool_bytes = $4::bigint WHERE node = $1::uuid",
        4, (const char *[]){id, events, seconds, bytes}, NULL);
}
