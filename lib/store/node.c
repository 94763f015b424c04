/* node.c: the nodes that bring events: whose start is in force, and how they fare */
#include "lib/store/node.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/history.h"

const char *node_token_text(const unsigned char *token, char out[NODE_TOKEN_TEXT])
{
    if (!token)
        return NULL;
    memcpy(out, "\\x", 2);
    sodium_bin2hex(out + 2, NODE_TOKEN_TEXT - 2, token, 16);
    return out;
}

/* Which of this node's starts has the token, from 1; 0: none. */
static size_t place_of(const struct node_start *start, const char *held)
{
    char text[NODE_TOKEN_TEXT];

    for (size_t i = start->n_past; i > 0; i--)
        if (strcmp(held, node_token_text(start->past + (i - 1) * 16, text)) == 0)
            return i;
    return 0;
}

/* May this start take the node, as its row stands? A row without a token was made by `tollgate spool ingest`. */
static enum status judge(struct db *d, const struct spool_node *node, const char *id, const struct node_start *start,
                         bool *older, char where[256])
{
    static const char find[] = "SELECT host, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'), "
                               "token FROM tollgate.collector_nodes WHERE node = $1::uuid FOR UPDATE";
    char own[NODE_TOKEN_TEXT];
    struct db_rows *rows;
    enum status s = db_query(d, find, DB_WITH(id), &rows);

    if (s != STATUS_OK)
        return s;
    if (db_count(rows) > 0 && strcmp(db_text(rows, 0, 2), "\\x") != 0) {
        size_t place = place_of(start, db_text(rows, 0, 2));

        *older = place > 0 && place < place_of(start, node_token_text(node->token, own));
        if (place == 0 && !start->take_over) {
            snprintf(where, 256, "on %s, %s", db_text(rows, 0, 0)[0] ? db_text(rows, 0, 0) : "an unnamed host",
                     db_text(rows, 0, 1));
            s = STATUS_CONFLICT;
        }
    }
    db_rows_free(rows);
    return s;
}

/* One row with the node's number of commits, which counts when it is committed. */
static enum status commit_counted(struct db *d, struct history_view *view, int64_t before, enum status s,
                                  struct db_rows *rows)
{
    int64_t number = s == STATUS_OK && db_count(rows) > 0 ? db_int(rows, 0, 0) : 0;

    db_rows_free(rows);
    if (s == STATUS_OK && number == 0)
        s = STATUS_NOT_FOUND;
    if (s != STATUS_OK) {
        db_rollback(d);
        return s;
    }
    if ((s = db_commit(d)) == STATUS_OK)
        history_committed(view, before, number);
    return s;
}

enum status node_take(struct db *d, const struct spool_node *node, const struct node_start *start,
                      struct history_view *view, bool *older, char where[256])
{
    static const char put[] = "INSERT INTO tollgate.collector_nodes AS n (node, token, host, commits) "
                              "VALUES ($1::uuid, $2::bytea, $3, 1) ON CONFLICT (node) DO UPDATE SET "
                              "token = excluded.token, host = excluded.host, started_at = now(), seen_at = now(), "
                              "commits = n.commits + 1 RETURNING n.commits";
    char id[SPOOL_NODE_TEXT], next[NODE_TOKEN_TEXT];
    struct db_rows *rows = NULL;
    enum status s = db_begin(d, NULL);
    int64_t before = history_commits(view);

    spool_node_text(node, id);
    where[0] = '\0';
    *older = false;
    if (s != STATUS_OK)
        return s;
    if ((s = judge(d, node, id, start, older, where)) == STATUS_OK)
        s = db_query(d, put, DB_WITH(id, node_token_text(start->next, next), start->host), &rows);
    return commit_counted(d, view, before, s, rows);
}

enum status node_report(struct db *d, const struct spool_node *node, struct history_view *view, uint64_t lag_events,
                        double lag_seconds, uint64_t spool_bytes)
{
    static const char sql[] =
        "UPDATE tollgate.collector_nodes SET seen_at = now(), lag_events = $2::bigint, lag_seconds = $3::float8, "
        "spool_bytes = $4::bigint, commits = commits + 1 WHERE node = $1::uuid RETURNING commits";
    char id[SPOOL_NODE_TEXT], seconds[40];
    int64_t before = history_commits(view);
    struct db_rows *rows = NULL;
    enum status s = db_begin(d, NULL);

    if (s != STATUS_OK)
        return s;
    spool_node_text(node, id);
    snprintf(seconds, sizeof(seconds), "%.3f", lag_seconds);
    s = db_query(d, sql, DB_WITH(id, DB_INT((int64_t)lag_events), seconds, DB_INT((int64_t)spool_bytes)), &rows);
    return commit_counted(d, view, before, s, rows);
}

enum status node_note_rollback(struct db *d, const char *node, const struct node_rollback *r)
{
    static const char sql[] =
        "INSERT INTO tollgate.node_rollbacks (node, cause, commits_known, commits_held, known_at, segments_again, "
        "bytes_again, segments_gone, bytes_gone) VALUES ($1::uuid, $2, $3::bigint, $4::bigint, "
        "to_timestamp(nullif($5::bigint, 0) / 1e6), $6::bigint, $7::bigint, $8::bigint, $9::bigint)";

    return db_run(d, sql,
                  DB_WITH(node, r->cause, DB_INT(r->commits_known), DB_INT(r->commits_held), DB_INT(r->known_at_us),
                          DB_INT((int64_t)r->segments_again), DB_INT((int64_t)r->bytes_again),
                          DB_INT((int64_t)r->segments_gone), DB_INT((int64_t)r->bytes_gone)),
                  NULL);
}
