/* spool_view.c: a spool's segments, read through, beside what PostgreSQL knows of them */
#include "cli/spool_view.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lib/base/io.h"
#include "lib/store/db.h"

static const char *const kinds[] = {"?", "gate", "web", "collector"};

enum status spool_view_open(struct cli *c, const char *word, struct spool_view *v)
{
    memset(v, 0, sizeof(*v));
    v->dir = word ? word : c->config->paths.spool_dir;
    v->known = spool_node_load(v->dir, false, &v->node) == STATUS_OK;
    enum status s = spool_list(v->dir, &v->list, &v->n);

    if (s != STATUS_OK)
        cli_say("%s: %s; name the folder that holds the .seg files", v->dir, status_text(s));
    return s;
}

bool spool_choice_valid(const struct spool_choice *choice)
{
    char *end = NULL;

    if (choice->segment && (strtoull(choice->segment, &end, 16) == 0 || *end)) {
        cli_say("--segment must be a segment's hexadecimal number, not \"%s\"", choice->segment);
        return false;
    }
    for (size_t i = 1; choice->writer && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(choice->writer, kinds[i]) == 0)
            return true;
    if (choice->writer)
        cli_say("--writer must be gate, web or collector, not \"%s\"", choice->writer);
    return !choice->writer;
}

const char *spool_writer_text(const struct spool_segment *g)
{
    return kinds[g->kind <= SPOOL_COLLECTOR ? g->kind : 0];
}

bool spool_chosen(const struct spool_choice *choice, const struct spool_segment *g)
{
    return (!choice->segment || strtoull(choice->segment, NULL, 16) == g->number) &&
           (!choice->writer || (g->header_intact && strcmp(choice->writer, spool_writer_text(g)) == 0)) &&
           (!choice->alive || g->live) && (!choice->dead || !g->live);
}

bool spool_is_served(const char *dir)
{
    char path[PATH_MAX];
    bool held;
    int fd;

    if (io_path(path, sizeof(path), dir, "collector.lock") != STATUS_OK || (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return false;
    held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

void spool_segment_cell(struct table *t, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%016" PRIx64, number);
    table_cell(t, text);
}

static void add_event(struct spool_sum *sum, const struct event *e)
{
    if (sum->events++ == 0)
        sum->first_us = sum->last_us = e->appended_us;
    if (e->appended_us < sum->first_us)
        sum->first_us = e->appended_us;
    if (e->appended_us > sum->last_us)
        sum->last_us = e->appended_us;
}

static void add_damage(struct spool_sum *sum, const struct spool_damage *d)
{
    if (d->torn_tail) {
        sum->torn_bytes += d->to - d->from;
    } else {
        sum->damaged_places++;
        sum->damaged_bytes += d->to - d->from;
    }
}

enum status spool_walk(const struct spool_view *v, const struct spool_segment *g, const struct spool_visitor *visitor,
                       struct spool_sum *sum)
{
    uint64_t at = SPOOL_HEADER_BYTES, next = at;
    struct spool_damage damage;
    struct spool_reader *r;
    struct event e;
    bool final;
    enum status s = spool_reader_open(v->dir, g->number, 0, v->known ? v->node.uuid : NULL, &r);

    memset(sum, 0, sizeof(*sum));
    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    while ((s = spool_read(r, &e, &next, &damage, &final)) == STATUS_OK || s == STATUS_DAMAGED) {
        if (s == STATUS_DAMAGED) {
            add_damage(sum, &damage);
            if (visitor->on_damage)
                visitor->on_damage(visitor->arg, g, &damage);
        } else {
            add_event(sum, &e);
            if (visitor->on_event && !visitor->on_event(visitor->arg, g, at, &e))
                break;
        }
        at = next;
    }
    spool_reader_close(r);
    return s == STATUS_IO ? s : STATUS_OK;
}

/* ---- what PostgreSQL knows ---- */

bool spool_books_open(struct cli *c, const char *without)
{
    struct db *d = cli_db(c);

    if (d && db_begin(d, NULL) == STATUS_OK)
        return true;
    cli_say("the database is not available (%s): %s", d ? db_error(d) : "out of memory", without);
    return false;
}
