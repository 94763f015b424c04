/*
 * places: the paths that a web server's configuration has to tell apart, and who answers each.
 *
 * Made of the prefixes and back ends in tollgate.conf by the rules of lib/base/address.h, the longest path first. Regions say
 * what is metered; places say who answers. A web server that knows only "the longest path that holds it" treats a request
 * rightly with these two lists. A fixed array in the caller's struct; nothing to free. Called by cmd_config_server.c and
 * doctor.
 */
#ifndef CLI_PLACES_H
#define CLI_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/config.h"

#define PLACES_MOST 64

enum place_answer {
    PLACE_REGION, /* nobody in particular: it says only whether it is metered */
    PLACE_WEB,    /* tollgate-web's JSON API, health and metrics */
    PLACE_PAGES,
    PLACE_STATIC,
    PLACE_BACKEND,
    PLACE_REST, /* below a metered prefix, and nobody else's: 404 behind the gate */
};

struct place {
    char path[BACKEND_PATH_SIZE];
    enum place_answer answer;
    bool metered;                  /* the gate is asked first */
    bool counted;                  /* and tells the tenant */
    bool alone;                    /* the path alone, not what is below */
    const struct backend *backend; /* of PLACE_BACKEND */
};

struct places {
    struct place regions[PLACES_MOST], answers[PLACES_MOST];
    size_t n_regions, n_answers;
};

void places_of(const struct config *c, struct places *out);

#endif
