/*
 * address: which paths are metered, which are Tollgate's own, and which are nobody's; decided here and nowhere else.
 *
 * An operator chooses three kinds of prefix in tollgate.conf: what is metered ([gate] prefix, up to eight), Tollgate's own
 * API ([web] api_prefix) and its pages ([web] page_prefix). The most specific prefix of a path decides, so the two of
 * Tollgate's own are carved out of a metered `/`. Tollgate's usage and subscription routes are never metered. Pure; no
 * allocation. Paths are resolved ones (lib/meter/endpoint.h). Called by the gate, tollgate-web, and the command line, which
 * writes the web servers' configuration by the same rules.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/config.h"
#include "lib/base/status.h"

enum address {
    ADDRESS_OUTSIDE,     /* not Tollgate's business: another service's on the same host name */
    ADDRESS_METERED,     /* the gate asks for a key and counts; a back end answers */
    ADDRESS_UNMETERED,   /* below a metered prefix, but exempt ([gate] unmetered): nobody asks for a key */
    ADDRESS_API,         /* Tollgate's own API: not counted; tollgate-web checks the key */
    ADDRESS_API_METERED, /* Tollgate's own API, but counted: /tenants, where api_prefix is a metered prefix as well */
    ADDRESS_PAGE,        /* below page_prefix: pages, static files, healthz, readyz, metrics */
};

/* The routes of Tollgate's own API, as first segments below api_prefix: "/usage", …; NULL behind the last. */
extern const char *const address_api_routes[];
/* The pages' first segments below page_prefix: "/static", "/sign-in", …; NULL behind the last. */
extern const char *const address_page_routes[];

/* "/", or "/x/y": no slash at the end, no empty or dot segments, nothing that would have to be encoded; at most 200 bytes. */
bool address_is_path(const char *path);
/* What `path` is. */
enum address address_of(const struct config *c, const char *path);
/* Is `path` the prefix itself or below it? "/api" holds "/api" and "/api/x", not "/apis"; "/" holds everything. */
bool address_below(const char *path, const char *prefix);
/* What a prefix adds before a path that begins with a slash: "" for "/", else the prefix. */
const char *address_base(const char *prefix);
/*
 * Are the configured addresses well formed, and can they stand beside each other? STATUS_INVALID: `problem` says which key
 * is wrong and what would be right. config_load calls it.
 */
MUST_CHECK enum status address_check(const struct config *c, char problem[512]);

#endif
