/* test_history.c: a database that went back in time is found at the next connection, whatever the worker was doing */
#include "lib/store/history.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/store/node.h"
#include "tests/unit/store/schema.h"

static char conninfo[256];
static struct db *owner;
static char dir[] = "/tmp/test-history-XXXXXX";
static const unsigned char token[16] = {7};
static struct spool_node node;
static char node_text[SPOOL_NODE_TEXT];

/* A worker: its connection and its view. */
struct worker {
    struct db *db;
    struct history_view view;
};
static struct history *history;

static int start_server(void)
{
    if (!schema_start("history", &owner, conninfo) || !mkdtemp(dir))
        return 1;
    memset(node.uuid, 5, sizeof(node.uuid));
    memcpy(node.token, token, sizeof(node.token));
    spool_node_text(&node, node_text);
    return history_open(dir, node_text, &history) != STATUS_OK;
}

static int stop_server(void)
{
    char command[64];

    history_close(history);
    db_close(owner);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) | server_stop();
}

static void run(const char *sql)
{
    CU_ASSERT_EQUAL_FATAL(db_begin(owner, NULL), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_script(owner, sql), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(db_commit(owner), STATUS_OK);
}

static void open_worker(struct worker *w)
{
    memset(w, 0, sizeof(*w));
    w->view.history = history;
    history_accept(&w->view);
    CU_ASSERT_EQUAL_FATAL(db_open(conninfo, "test", &w->db), STATUS_OK);
    db_on_connect(w->db, history_check, &w->view);
}

static enum status report(struct worker *w)
{
    return node_report(w->db, &node, &w->view, 0, 0, 0);
}

static void reconnect(struct worker *w)
{
    db_close(w->db);
    CU_ASSERT_EQUAL_FATAL(db_open(conninfo, "test", &w->db), STATUS_OK);
    db_on_connect(w->db, history_check, &w->view);
}

static void take_node(struct worker *w)
{
    const struct node_start start = {.past = token, .n_past = 1, .next = token, .host = "test"};
    char where[256];
    bool older;

    CU_ASSERT_EQUAL_FATAL(node_take(w->db, &node, &start, &w->view, &older, where), STATUS_OK);
    CU_ASSERT_FALSE(older);
}

static void a_smaller_number_is_found_by_the_next_connection_and_told_to_the_other_worker(void)
{
    struct history_rollback found;
    struct worker a, b;

    open_worker(&a);
    open_worker(&b);
    take_node(&a);
    for (int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    CU_ASSERT_EQUAL(report(&b), STATUS_OK);
    CU_ASSERT_EQUAL(history_commits(&a.view), 7);
    reconnect(&b); /* nothing happened: it goes on */
    CU_ASSERT_EQUAL(report(&b), STATUS_OK);
    CU_ASSERT_FALSE(history_went_back(&b.view));
    run("UPDATE tollgate.collector_nodes SET commits = 3");
    reconnect(&b);
    CU_ASSERT_EQUAL(report(&b), STATUS_UNAVAILABLE);
    CU_ASSERT_TRUE(history_went_back(&a.view));
    CU_ASSERT_TRUE(history_went_back(&b.view));
    CU_ASSERT_TRUE(history_tell(history, &found));
    CU_ASSERT_EQUAL(found.commits_known, 8);
    CU_ASSERT_EQUAL(found.commits_held, 3);
    CU_ASSERT_FALSE(history_tell(history, &found));
    history_accept(&b.view);
    CU_ASSERT_EQUAL(report(&b), STATUS_OK);
    reconnect(&a); /* it has not forgotten yet */
    CU_ASSERT_EQUAL(report(&a), STATUS_UNAVAILABLE);
    history_accept(&a.view);
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    CU_ASSERT_EQUAL(history_commits(&a.view), 5);
    history_settled(history);
    db_close(a.db);
    db_close(b.db);
}

/* A pooler may keep the connection while the server behind it is another. */
static void it_is_found_behind_a_connection_that_stays(void)
{
    struct worker a;

    open_worker(&a);
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    run("UPDATE tollgate.collector_nodes SET commits = 1");
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    CU_ASSERT_TRUE(history_went_back(&a.view));
    history_settled(history);
    db_close(a.db);
}

static void a_start_after_it_remembers_what_was_seen_before(void)
{
    struct worker a;

    open_worker(&a);
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    db_close(a.db);
    history_close(history);
    run("UPDATE tollgate.collector_nodes SET commits = 1");
    CU_ASSERT_EQUAL_FATAL(history_open(dir, node_text, &history), STATUS_OK);
    open_worker(&a);
    CU_ASSERT_EQUAL(report(&a), STATUS_UNAVAILABLE);
    CU_ASSERT_TRUE(history_went_back(&a.view));
    db_close(a.db);
    history_close(history); /* killed before all about it was done: the next start does it */
    CU_ASSERT_EQUAL_FATAL(history_open(dir, node_text, &history), STATUS_OK);
    memset(&a, 0, sizeof(a));
    a.view.history = history;
    CU_ASSERT_TRUE(history_went_back(&a.view));
    history_settled(history);
    history_close(history);
    CU_ASSERT_EQUAL_FATAL(history_open(dir, node_text, &history), STATUS_OK);
    memset(&a, 0, sizeof(a));
    a.view.history = history;
    CU_ASSERT_FALSE(history_went_back(&a.view));
}

static void a_cursor_that_is_ahead_of_the_database_is_found(void)
{
    struct worker a;

    open_worker(&a);
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    history_cursor(&a.view, "9000000000:9000000000:");
    reconnect(&a);
    CU_ASSERT_EQUAL(report(&a), STATUS_UNAVAILABLE);
    CU_ASSERT_TRUE(history_went_back(&a.view));
    history_accept(&a.view);
    CU_ASSERT_EQUAL(report(&a), STATUS_OK);
    history_settled(history);
    db_close(a.db);
}

static void a_start_of_this_node_that_is_older_is_told_from_a_copy(void)
{
    static const unsigned char past[32] = {[0] = 7, [16] = 8};
    static const unsigned char next[16] = {9};
    struct node_start start = {.past = past, .n_past = 2, .next = next, .host = "test"};
    struct spool_node newer = node;
    struct worker a;
    char where[256];
    bool older;

    open_worker(&a);
    memset(newer.token, 0, sizeof(newer.token));
    newer.token[0] = 8; /* the node's last start; the database holds the one before */
    CU_ASSERT_EQUAL(node_take(a.db, &newer, &start, &a.view, &older, where), STATUS_OK);
    CU_ASSERT_TRUE(older);
    /* now the database holds {9}, which is no start that this node knows of */
    start.next = token;
    CU_ASSERT_EQUAL(node_take(a.db, &newer, &start, &a.view, &older, where), STATUS_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(where, "test"));
    start.take_over = true;
    CU_ASSERT_EQUAL(node_take(a.db, &newer, &start, &a.view, &older, where), STATUS_OK);
    CU_ASSERT_FALSE(older);
    db_close(a.db);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"a smaller number is found by the next connection, and told to the other worker",
         a_smaller_number_is_found_by_the_next_connection_and_told_to_the_other_worker},
        {"it is found behind a connection that stays", it_is_found_behind_a_connection_that_stays},
        {"a start after it remembers what was seen before", a_start_after_it_remembers_what_was_seen_before},
        {"a cursor that is ahead of the database is found", a_cursor_that_is_ahead_of_the_database_is_found},
        {"a start of this node that is older is told from a copy",
         a_start_of_this_node_that_is_older_is_told_from_a_copy},
        CU_TEST_INFO_NULL,
    };
    return server_suite("history", start_server, stop_server, tests);
}
