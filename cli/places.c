/* places.c: from prefixes and back ends to who answers which path */
#include "cli/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/address.h"

static bool is_metered(enum address a)
{
    return a == ADDRESS_METERED || a == ADDRESS_UNMETERED || a == ADDRESS_API_METERED;
}

static size_t longest_metered(const struct config *c, const char *path)
{
    size_t most = 0;

    for (size_t i = 0; i < CONFIG_METERED && c->gate.prefix[i]; i++)
        if (address_below(path, c->gate.prefix[i]) && strlen(c->gate.prefix[i]) > most)
            most = strlen(c->gate.prefix[i]);
    return most;
}

/* The gate is asked about Tollgate's own API too where that is a part of a metered path, and not carved out of one. */
static bool asks_gate(const struct config *c, const char *path)
{
    enum address a = address_of(c, path);

    return is_metered(a) || (a == ADDRESS_API && address_below(path, c->web.api_prefix) &&
                             longest_metered(c, path) >= strlen(c->web.api_prefix));
}

static struct place *add(const struct config *c, struct place *list, size_t *n, const char *path,
                         enum place_answer answer)
{
    struct place *p = &list[(*n)++];

    snprintf(p->path, sizeof(p->path), "%s", path);
    p->answer = answer;
    p->metered = asks_gate(c, path);
    p->counted = is_metered(address_of(c, path));
    return p;
}

static struct place *add_below(const struct config *c, struct places *out, const char *prefix, const char *route,
                               enum place_answer answer)
{
    char path[BACKEND_PATH_SIZE];

    snprintf(path, sizeof(path), "%s%s", address_base(prefix), route);
    return add(c, out->answers, &out->n_answers, path, answer);
}

/* The longest first; of two that are alike a back end before the rest. */
static int by_length(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    size_t m = strlen(p->path), n = strlen(q->path);

    return m != n ? (m < n ? 1 : -1) : (int)(p->answer == PLACE_REST) - (int)(q->answer == PLACE_REST);
}

static bool has_backend(const struct config *c, const char *path)
{
    for (size_t i = 0; i < c->n_backends; i++)
        if (strcmp(c->backends[i].path, path) == 0)
            return true;
    return false;
}

/* What is carved out of a metered prefix is a region of its own; what lies outside needs none. */
static void add_free(const struct config *c, struct places *out, const char *path)
{
    if (longest_metered(c, path) && !asks_gate(c, path))
        add(c, out->regions, &out->n_regions, path, PLACE_REGION);
}

void places_of(const struct config *c, struct places *out)
{
    static const char *const alone[] = {"/healthz", "/readyz", "/metrics"};

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < CONFIG_METERED && c->gate.prefix[i]; i++) {
        add(c, out->regions, &out->n_regions, c->gate.prefix[i], PLACE_REGION)->metered = true;
        if (!has_backend(c, c->gate.prefix[i]))
            add(c, out->answers, &out->n_answers, c->gate.prefix[i], PLACE_REST);
    }
    add_free(c, out, c->web.page_prefix);
    add_free(c, out, c->web.api_prefix);
    for (size_t i = 0; address_api_routes[i]; i++)
        add_below(c, out, c->web.api_prefix, address_api_routes[i], PLACE_WEB);
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        add_below(c, out, c->web.page_prefix, alone[i], PLACE_WEB)->alone = true;
    add_below(c, out, c->web.page_prefix, "/static", PLACE_STATIC);
    add(c, out->answers, &out->n_answers, c->web.page_prefix, PLACE_PAGES);
    for (size_t i = 0; i < c->n_backends; i++)
        add(c, out->answers, &out->n_answers, c->backends[i].path, PLACE_BACKEND)->backend = &c->backends[i];
    qsort(out->regions, out->n_regions, sizeof(out->regions[0]), by_length);
    qsort(out->answers, out->n_answers, sizeof(out->answers[0]), by_length);
}
