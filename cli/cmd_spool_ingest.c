/* cmd_spool_ingest.c: tollgate spool ingest: a dead node's journal into PostgreSQL, once, however often it is run */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/base/io.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/examine.h"
#include "lib/store/ingest.h"

#define BATCH_EVENTS 2000
#define ARENA_BYTES ((size_t)16 << 20)
#define TRIES_MOST 20
#define TRY_AGAIN_MS 250

/* Nothing of a batch is remembered from one try to the next: where to go on always comes from the database. */
struct intake {
    struct cli *cli;
    const char *dir;
    struct spool_node node; /* of the segment in hand */
    struct ingest *ingest;
    struct examiner *examiner;
    struct ingest_event *events;
    struct ingest_damage *damage;
    char *arena;
    size_t n_events, n_damage, used;
    size_t most; /* events in the next batch: fewer after PostgreSQL refused a value, down to that one */
    uint64_t stored, duplicates, rejected, damaged;
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = TRY_AGAIN_MS * 1000000L}, NULL);
}

static struct text keep(struct intake *in, struct text t)
{
    struct text kept = {in->arena + in->used, t.length};

    memcpy(in->arena + in->used, t.at, t.length);
    in->used += t.length;
    return kept;
}

static void take(struct intake *in, const struct event *e, uint64_t segment, uint64_t position)
{
    struct ingest_event *i = &in->events[in->n_events++];
    size_t kept;

    *i = (struct ingest_event){.event = *e, .segment = segment, .position = position, .uncounted = true};
    i->event.tenant = keep(in, e->tenant);
    i->event.metric = keep(in, e->metric);
    i->event.source = keep(in, e->source);
    i->event.id = keep(in, e->id);
    i->event.metadata = keep(in, e->metadata);
    i->reject = examine_event(in->examiner, i, in->arena + in->used, &kept);
    in->used += kept;
    if (!i->reject && in->most == 0)
        i->reject = "refused";
}

/* One batch of a segment from `span->from`; span->to is where it ended. */
static enum status read_batch(struct intake *in, uint64_t number, struct ingest_span *span)
{
    struct spool_damage damage;
    struct spool_reader *r;
    struct event e;
    size_t most = in->most ? in->most : 1;
    uint64_t next;
    bool final;
    enum status s = spool_reader_open(in->dir, number, span->from, in->node.uuid, &r);

    in->n_events = in->n_damage = in->used = 0;
    span->to = span->from;
    if (s != STATUS_OK)
        return s;
    while (in->n_events < most && in->n_damage < BATCH_EVENTS && in->used + 2 * EVENT_MAX_BYTES < ARENA_BYTES) {
        s = spool_read(r, &e, &next, &damage, &final);
        if (s == STATUS_OK)
            take(in, &e, number, span->to ? span->to : SPOOL_HEADER_BYTES);
        else if (s == STATUS_DAMAGED && !damage.torn_tail)
            in->damage[in->n_damage++] = (struct ingest_damage){number, damage.from, damage.to};
        else if (s != STATUS_DAMAGED)
            break;
        span->to = next;
    }
    spool_reader_close(r);
    return s == STATUS_IO ? s : STATUS_OK;
}

static enum status position_of(struct intake *in, uint64_t number, uint64_t *position)
{
    struct ingest_position p = {number, 0};
    enum status s = ingest_progress(in->ingest, &p, 1);

    *position = p.position;
    return s;
}

static void count(struct intake *in, const struct ingest_result *r)
{
    in->stored += r->stored;
    in->duplicates += r->duplicates;
    in->rejected += r->rejected;
    in->damaged += in->n_damage;
}

/* A COMMIT without an answer: the position tells. */
static enum status settle(struct intake *in, const struct ingest_span *span, const struct ingest_result *r)
{
    uint64_t position;
    enum status s = STATUS_UNAVAILABLE;

    for (int tries = 0; tries < TRIES_MOST && s == STATUS_UNAVAILABLE; tries++) {
        nap();
        s = position_of(in, span->segment, &position);
    }
    if (s == STATUS_OK && position == span->to)
        count(in, r);
    return s;
}

static enum status store_batch(struct intake *in, const struct ingest_span *span)
{
    struct ingest_batch batch = {.events = in->events,
                                 .n_events = in->n_events,
                                 .spans = span,
                                 .n_spans = 1,
                                 .damage = in->damage,
                                 .n_damage = in->n_damage};
    struct ingest_result r;
    enum status s = ingest_store(in->ingest, &batch, &r);

    if (s == STATUS_OK) {
        count(in, &r);
        in->most = BATCH_EVENTS;
    } else if (s == STATUS_UNAVAILABLE && r.unsure) {
        s = settle(in, span, &r);
    } else if (((s == STATUS_INVALID || s == STATUS_LIMIT) && in->most > 0) ||
               (s == STATUS_TIMEOUT && in->n_events > 1)) {
        in->most = in->n_events / 2; /* 0: the one that is left is what PostgreSQL refuses */
        s = STATUS_OK;
    }
    ingest_result_free(&r);
    return s;
}

static enum status one_segment(struct intake *in, uint64_t number)
{
    struct ingest_span span = {.segment = number};
    enum status s = STATUS_OK;

    in->most = BATCH_EVENTS;
    for (int tries = 0; tries < TRIES_MOST; tries++) {
        s = position_of(in, number, &span.from);
        if (s == STATUS_OK)
            s = read_batch(in, number, &span);
        if (s == STATUS_OK && span.to == span.from)
            return STATUS_OK;
        if (s == STATUS_OK && (s = store_batch(in, &span)) == STATUS_OK) {
            tries = -1;
            continue;
        }
        if (s != STATUS_UNAVAILABLE && s != STATUS_CONFLICT)
            break;
        nap(); /* away, or its own collector was faster: from the position that stands then */
    }
    cli_say("segment %016" PRIx64 ": %s%s%s", number, status_text(s), ingest_error(in->ingest)[0] ? ": " : "",
            ingest_error(in->ingest));
    return s;
}

/* Whose events these are decides their positions: the segment's header says it, the folder's file where it is damaged. */
static enum status open_for(struct intake *in, const struct spool_segment *g, const struct spool_node *folder)
{
    const struct config *f = in->cli->config;
    struct ingest_options o = {.conninfo = f->database.owner,
                               .connect_timeout_s = (int)f->database.connect_timeout_s,
                               .statement_timeout_s = (int)f->database.statement_timeout_s,
                               .endpoints_max = (int)f->collector.endpoints_max};
    const unsigned char *uuid = g->header_intact ? g->node : folder->uuid;

    if (in->ingest && memcmp(in->node.uuid, uuid, sizeof in->node.uuid) == 0)
        return STATUS_OK;
    ingest_close(in->ingest);
    in->ingest = NULL;
    memcpy(in->node.uuid, uuid, sizeof in->node.uuid);
    memcpy(o.node, uuid, sizeof o.node);
    return ingest_open(&o, &in->ingest);
}

/* Is a collector at work there? It does what this command would do. */
static bool is_served(const char *dir)
{
    char path[PATH_MAX];
    bool served = false;
    int fd;

    if (io_path(path, sizeof path, dir, "collector.lock") == STATUS_OK && (fd = open(path, O_RDWR | O_CLOEXEC)) >= 0) {
        served = flock(fd, LOCK_EX | LOCK_NB) != 0;
        close(fd);
    }
    return served;
}

static int report(const struct intake *in, size_t segments, size_t failed)
{
    if (in->cli->json)
        printf("{\"segments\":%zu,\"stored\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"rejected\":%" PRIu64
               ",\"damaged\":%" PRIu64 ",\"failed\":%zu}\n",
               segments, in->stored, in->duplicates, in->rejected, in->damaged, failed);
    else
        printf("%zu segments: %" PRIu64 " events stored, %" PRIu64 " duplicates, %" PRIu64 " rejected, %" PRIu64
               " damaged places, %zu segments failed\n",
               segments, in->stored, in->duplicates, in->rejected, in->damaged, failed);
    return failed ? CLI_FAILED : CLI_OK;
}

static int ingest_all(struct intake *in, const struct spool_segment *list, size_t n, const struct spool_node *folder)
{
    size_t failed = 0;

    for (size_t i = 0; i < n; i++) {
        if (list[i].live)
            cli_say("segment %016" PRIx64 " is still being written: run this again later", list[i].number);
        if (open_for(in, &list[i], folder) != STATUS_OK) {
            cli_say("out of memory");
            return CLI_FAILED;
        }
        failed += one_segment(in, list[i].number) != STATUS_OK;
    }
    return report(in, n, failed);
}

int cmd_spool_ingest(struct cli *c, int argc, char *argv[])
{
    struct intake in = {.cli = c};
    struct spool_segment *list = NULL;
    struct spool_node folder;
    size_t n = 0;
    int result = CLI_FAILED;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &in.dir, 1, 1))
        return CLI_USAGE;
    if (is_served(in.dir)) {
        cli_say("a collector serves %s: it brings the events in itself; stop it first if this is to do it", in.dir);
        return CLI_REFUSED;
    }
    if ((s = spool_node_load(in.dir, false, &folder)) != STATUS_OK ||
        (s = spool_list(in.dir, &list, &n)) != STATUS_OK) {
        cli_say("%s is no spool that can be read (%s): name the folder with `node` and the .seg files", in.dir,
                status_text(s));
        goto out;
    }
    in.events = calloc(BATCH_EVENTS, sizeof *in.events);
    in.damage = calloc(BATCH_EVENTS, sizeof *in.damage);
    in.arena = malloc(ARENA_BYTES);
    if (!in.events || !in.damage || !in.arena || examiner_create(&in.examiner) != STATUS_OK) {
        cli_say("out of memory");
        goto out;
    }
    result = ingest_all(&in, list, n, &folder);
out:
    ingest_close(in.ingest);
    examiner_destroy(in.examiner);
    free(in.arena);
    free(in.damage);
    free(in.events);
    free(list);
    return result;
}
