/*
 * backend: the services behind the gate, one a line of [backends] in tollgate.conf: "/api/orders = http://127.0.0.1:9000".
 *
 * The web servers' configuration is made of them (`tollgate config lighttpd`); no running program reads them. A call goes to
 * the one with the longest path that holds it, and its own path is handed on unchanged. Paths and addresses are made of
 * characters that stand for themselves in every server's configuration, so nothing can be injected there. Pure; no
 * allocation. Called by config_load.
 */
#ifndef BASE_BACKEND_H
#define BASE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/status.h"

#define BACKEND_MOST 32
#define BACKEND_PATH_SIZE 256

struct config;

struct backend {
    char path[BACKEND_PATH_SIZE]; /* at or below a metered prefix */
    bool fastcgi;                 /* else HTTP */
    char address[256];            /* "unix:/path" or "host:port", the host of IPv6 in brackets */
};

/* Reads one line. STATUS_INVALID: `problem` says what would be right. */
MUST_CHECK enum status backend_parse(const char *path, const char *target, struct backend *out, char problem[512]);
/* Is every path metered, there once, and none of Tollgate's own? STATUS_INVALID: `problem` says which is not. */
MUST_CHECK enum status backend_check(const struct config *c, char problem[512]);
/*
 * Is it "unix:/path" or "host:port" that a server's configuration can hold as it is? Letters, digits and . _ ~ - / : @ + ,
 * and the blank within a path.
 */
bool backend_address_is_plain(const char *address);

#endif
