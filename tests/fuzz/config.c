/*
 * config.c: any bytes as tollgate.conf: what is loaded is within the bounds of the table of keys, and reads the same when its
 * lines are written as they were understood; what is not says why, in one line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/address.h"
#include "lib/base/config.h"
#include "lib/base/config_table.h"
#include "lib/base/ini.h"
#include "lib/base/io.h"
#include "tests/fuzz/input.h"

#define FILE_MOST 16384

/* What the parser said, as a file again: a line each. */
struct written {
    char text[4 * FILE_MOST];
    size_t length;
    int last_line;
    size_t problems;
};

static void write_line(struct written *w, int line, const char *before, const char *name, const char *between,
                       const char *value)
{
    must(line > w->last_line);
    w->last_line = line;
    for (const char *p = name; *p; p++)
        must((unsigned char)*p >= 0x20 || *p == '\t');
    must(strlen(name) == 0 || (!strchr(" \t", name[0]) && !strchr(" \t", name[strlen(name) - 1])));
    must(strlen(value) == 0 || (!strchr(" \t", value[0]) && !strchr(" \t", value[strlen(value) - 1])));
    w->length += (size_t)snprintf(w->text + w->length, sizeof w->text - w->length, "%s%s%s%s\n", before, name, between,
                                  value);
    must(w->length < sizeof w->text);
}

static void on_section(void *arg, int line, const char *name)
{
    write_line(arg, line, "[", name, "]", "");
}

static void on_pair(void *arg, int line, const char *key, const char *value)
{
    must(!strchr(key, '='));
    write_line(arg, line, "", key, " = ", value);
}

static void on_problem(void *arg, int line, const char *what)
{
    struct written *w = arg;
    must(line > w->last_line && strlen(what) > 0);
    w->last_line = line;
    w->problems++;
}

static void parse(const char *bytes, size_t length, struct written *w)
{
    const struct ini_handler handler = {on_section, on_pair, on_problem, w};
    char *text = input_copy(bytes, length);
    *w = (struct written){0};
    ini_parse(text, length, &handler);
    free(text);
}

/* Behind a section of its own: what follows a wrong section's header is read, too. */
static void must_read_the_same_again(const struct written *w)
{
    static const char start[] = "[start]\n";
    static struct written again;
    char *text = malloc(sizeof start + w->length);
    must(text != NULL);
    memcpy(text, start, sizeof start - 1);
    memcpy(text + sizeof start - 1, w->text, w->length);
    parse(text, sizeof start - 1 + w->length, &again);
    must(again.problems == 0 && again.length == sizeof start - 1 + w->length &&
         memcmp(again.text, text, again.length) == 0);
    free(text);
}

static void must_be_within_bounds(const struct config *c)
{
    char problem[512];
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const char *at = (const char *)c + k->offset;
        int64_t n;
        memcpy(&n, at, sizeof n);
        if (k->type == TYPE_INTEGER)
            must(n >= k->least && n <= k->most);
    }
    must(c->n_rules <= CONFIG_RULES && c->n_backends <= BACKEND_MOST);
    for (size_t i = 0; i < c->n_rules; i++)
        must(c->rules[i].path[0] == '/' && c->rules[i].metric[0] && c->rules[i].method[0]);
    must(address_check(c, problem) == STATUS_OK);
    for (size_t i = 0; i < CONFIG_METERED && c->gate.prefix[i]; i++)
        must(address_of(c, c->gate.prefix[i]) == ADDRESS_METERED);
}

static void count(void *arg, const char *problem)
{
    must(strlen(problem) > 0 && !strchr(problem, '\n'));
    ++*(size_t *)arg;
}

static int file = -1;
static char path[64];

static void load(const char *bytes, size_t length)
{
    char problem[512];
    struct config *c = NULL;
    size_t problems = 0;
    if (file < 0) {
        file = memfd_create("tollgate.conf", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    must(file >= 0 && ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    must(io_write_all(file, bytes, length) == STATUS_OK);
    enum status s = config_load(path, &c, problem);
    must(s == STATUS_OK || s == STATUS_INVALID);
    must((s == STATUS_OK) == (c != NULL) && (s == STATUS_OK) == (problem[0] == '\0') && !strchr(problem, '\n'));
    must(config_check(path, count, &problems) == s && (problems > 0) == (s != STATUS_OK));
    if (c)
        must_be_within_bounds(c);
    config_free(c);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static struct written w;
    char *text = input_copy(data, size < FILE_MOST ? size : FILE_MOST);
    size = size < FILE_MOST ? size : FILE_MOST;
    parse(text, size, &w);
    must_read_the_same_again(&w);
    load(text, size);
    free(text);
    return 0;
}
