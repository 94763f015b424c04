/* rollback.c: the database went back in time: what import knows of it is forgotten, and said what came of it */
#include "collector/rollback.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/store/node.h"

void rollback_forget(struct rollback *r, struct batch *b, struct counts *counts)
{
    if (!history_went_back(&r->view))
        return;
    batch_forget(b);
    counts_went_back(counts);
    r->retake = true;
    history_accept(&r->view);
}

/* The token in force is this start's again, if the one that stands there is of an earlier start of this node. */
static enum status take(struct rollback *r, struct db *db, bool *older)
{
    char host[256] = "", where[256];
    struct node_start start = {.next = r->c->node.token, .host = host};
    unsigned char *past;
    enum status s = spool_starts(r->c->config->paths.spool_dir, &past, &start.n_past);

    if (s != STATUS_OK)
        return s;
    gethostname(host, sizeof(host) - 1);
    start.past = past;
    s = node_take(db, &r->c->node, &start, &r->view, older, where);
    free(past);
    return s == STATUS_CONFLICT ? STATUS_FENCED : s;
}

enum status rollback_retake(struct rollback *r, struct db *db)
{
    bool older;
    enum status s = r->retake ? take(r, db, &older) : STATUS_OK;

    r->retake = r->retake && s != STATUS_OK;
    return s;
}

enum status rollback_fenced(struct rollback *r, struct db *db)
{
    bool older = false;
    enum status s = take(r, db, &older);

    if (s == STATUS_OK && older)
        history_set_back(r->c->history, "it holds an earlier start of this node");
    return s;
}

static void note(const struct rollback *r, struct db *db, const struct history_rollback *found,
                 const struct batch_again *again)
{
    const struct node_rollback row = {found->cause,    found->commits_known, found->commits_held,  found->known_at_us,
                                      again->segments, again->bytes,         again->segments_gone, again->bytes_gone};
    char node[SPOOL_NODE_TEXT];

    spool_node_text(&r->c->node, node);
    if (node_note_rollback(db, node, &row) != STATUS_OK)
        log_warning("the rollback can't be noted for `tollgate doctor`: %s", db_error(db));
}

void rollback_tell(struct rollback *r, struct batch *b, struct db *db)
{
    struct history_rollback found;
    struct batch_again again;

    if (!batch_again(b, &again))
        return;
    if (!history_tell(r->c->history, &found)) {
        if (again.segments > 0) /* nothing else showed it */
            history_set_back(r->c->history, "kept segments are not stored in it");
        return;
    }
    log_info("%" PRIu64 " bytes of %" PRIu64 " segments are stored again, each event once", again.bytes,
             again.segments);
    if (again.segments_gone)
        log_error("%" PRIu64 " bytes of %" PRIu64
                  " segments were removed before (spool.keep_minutes, spool.keep_bytes): "
                  "the events in them that PostgreSQL lacks now can't come back",
                  again.bytes_gone, again.segments_gone);
    note(r, db, &found, &again);
}
