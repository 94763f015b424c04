/* cmd_spool_ingest.c: tollgate spool ingest: a dead node's journal into PostgreSQL, once, however often it is run */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/spool_view.h"
#include "lib/base/json_write.h"
#include "lib/intake/batch.h"
#include "lib/store/ingest.h"

#define TRIES_MOST 20
#define TRY_AGAIN_MS 250

struct intake {
    struct cli *cli;
    const char *dir;
    struct spool_node folder; /* as the folder's file names it */
    struct spool_segment *list;
    size_t n, segments, failed;
    uint64_t stored, duplicates, rejected, damaged;
};

/* Whose events these are decides their positions: the segment's header says it, the folder's file where it is damaged. */
static const unsigned char *node_of(const struct intake *in, const struct spool_segment *g)
{
    return g->header_intact ? g->node : in->folder.uuid;
}

static bool is_of(const struct intake *in, const struct spool_segment *g, const unsigned char node[16])
{
    return memcmp(node_of(in, g), node, sizeof(g->node)) == 0;
}

static bool held_by_none(const void *table, uint64_t segment, uint64_t position, const struct event *e)
{
    (void)table, (void)segment, (void)position, (void)e;
    return false;
}

static enum status next_batch(struct intake *in, struct batch *b, struct ingest *to)
{
    struct ingest_result r;
    enum status s = batch_look(b, to);

    if (s == STATUS_OK && !batch_pending(b))
        s = batch_read(b, held_by_none, NULL);
    if (s != STATUS_OK)
        return s;
    if ((s = batch_store(b, to, &r)) == STATUS_OK) {
        in->stored += r.stored;
        in->duplicates += r.duplicates;
        in->rejected += r.rejected;
        in->damaged += batch_contents(b)->n_damage;
        batch_stored(b);
    }
    ingest_result_free(&r);
    return s == STATUS_INVALID ? STATUS_OK : s;
}

/* Until nothing is left to read. STATUS_OK, or what went wrong time after time. */
static enum status bring_in(struct intake *in, struct batch *b, struct ingest *to)
{
    enum status s = STATUS_OK;

    for (int tries = 0; s != STATUS_END && tries < TRIES_MOST; tries = s == STATUS_OK ? 0 : tries + 1) {
        s = next_batch(in, b, to);
        if (s == STATUS_UNAVAILABLE || s == STATUS_CONFLICT) /* conflict: the node's own collector was faster */
            nanosleep(&(struct timespec){.tv_nsec = TRY_AGAIN_MS * 1000000L}, NULL);
        else if (s != STATUS_OK && s != STATUS_TIMEOUT)
            break;
    }
    return s == STATUS_END ? STATUS_OK : s;
}

static void count_failed(struct intake *in, const struct batch *b, const unsigned char node[16], enum status s,
                         const char *why)
{
    for (size_t i = 0; i < in->n; i++)
        if (is_of(in, &in->list[i], node) && !batch_is_stored(b, &in->list[i])) {
            cli_say("segment %016" PRIx64 " is not stored to its end%s%s%s%s", in->list[i].number,
                    s == STATUS_OK ? "" : ": ", s == STATUS_OK ? "" : status_text(s), why[0] ? ": " : "", why);
            in->failed++;
        }
}

/* All segments of one node. */
static enum status one_node(struct intake *in, const unsigned char node[16])
{
    const struct config *f = in->cli->config;
    struct ingest_options o = ingest_options_of(f, f->database.owner);
    struct batch_options from = {.spool_dir = in->dir, .rows = (size_t)f->collector.batch_rows};
    struct ingest *to = NULL;
    struct batch *b = NULL;
    enum status s;

    memcpy(o.node, node, sizeof(o.node));
    memcpy(from.node, node, sizeof(from.node));
    from.unmarked = memcmp(node, in->folder.uuid, sizeof(from.node)) == 0;
    if ((s = ingest_open(&o, &to)) == STATUS_OK && (s = batch_create(&from, &b)) == STATUS_OK) {
        s = bring_in(in, b, to);
        count_failed(in, b, node, s, s == STATUS_OK ? "" : ingest_error(to));
        s = STATUS_OK;
    }
    batch_destroy(b);
    ingest_close(to);
    return s;
}

static void report(const struct intake *in)
{
    char text[256];
    struct json_write w;

    if (!in->cli->json) {
        printf("%zu segments: %" PRIu64 " events stored, %" PRIu64 " duplicates, %" PRIu64 " rejected, %" PRIu64
               " damaged places, %zu segments failed\n",
               in->segments, in->stored, in->duplicates, in->rejected, in->damaged, in->failed);
        return;
    }
    json_write_begin(&w, text, sizeof(text));
    json_write_count(&w, "segments", in->segments);
    json_write_count(&w, "stored", in->stored);
    json_write_count(&w, "duplicates", in->duplicates);
    json_write_count(&w, "rejected", in->rejected);
    json_write_count(&w, "damaged", in->damaged);
    json_write_count(&w, "failed", in->failed);
    json_write_end(&w);
    puts(text);
}

/* Segments of several nodes may lie in one folder. */
static enum status all_nodes(struct intake *in)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < in->n && s == STATUS_OK; i++) {
        size_t first = 0;

        while (!is_of(in, &in->list[first], node_of(in, &in->list[i])))
            first++;
        if (in->list[i].live)
            cli_say("segment %016" PRIx64 " is still being written: run this again later", in->list[i].number);
        if (first == i)
            s = one_node(in, node_of(in, &in->list[i]));
    }
    return s;
}

static enum status one_folder(struct intake *in, const char *dir)
{
    enum status s = spool_list(dir, &in->list, &in->n);

    if (s != STATUS_OK) {
        cli_say("%s can't be read: %s", dir, status_text(s));
        return s;
    }
    in->dir = dir;
    in->segments += in->n;
    if ((s = all_nodes(in)) != STATUS_OK)
        cli_say("%s", status_text(s));
    free(in->list);
    in->list = NULL;
    in->dir = NULL;
    return s;
}

/* What the node stored and kept: the database may have gone back since. What it still holds is not read. */
static enum status kept_folder(struct intake *in, const char *dir)
{
    char kept[PATH_MAX];
    enum status s = spool_kept_folder(kept, dir);

    if (s != STATUS_OK || access(kept, F_OK) != 0)
        return s;
    return one_folder(in, kept);
}

int cmd_spool_ingest(struct cli *c, int argc, char *argv[])
{
    struct intake in = {.cli = c};
    const char *dir;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &dir, 1, 1))
        return CLI_USAGE;
    if (spool_is_served(dir)) {
        cli_say("a collector is at work on %s and stores its events itself; stop it first to use this command", dir);
        return CLI_REFUSED;
    }
    if ((s = spool_node_load(dir, false, &in.folder)) != STATUS_OK) {
        cli_say("%s is no spool that can be read (%s): name the folder with `node` and the .seg files", dir,
                status_text(s));
        return CLI_FAILED;
    }
    if ((s = one_folder(&in, dir)) == STATUS_OK)
        s = kept_folder(&in, dir);
    if (s != STATUS_OK)
        return CLI_FAILED;
    report(&in);
    return in.failed ? CLI_FAILED : CLI_OK;
}
