/*
 * probe: does something at an address answer, as a web server or as a FastCGI program?
 *
 * `tollgate doctor` asks. Each question has one connection and PROBE_PATIENCE_S; nothing is kept.
 */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#define PROBE_PATIENCE_S 3

enum probe_answer {
    PROBE_NOTHING, /* nobody takes the connection */
    PROBE_SILENT,  /* somebody does, and does not answer */
    PROBE_ANSWERS, /* *status is what it answered */
};

/*
 * GET `path`, which goes to the server as it is, from "host:port" or "[::1]:port", `length` bytes; a missing port is `standard`.
 * `headers` are lines such as "Host: example", NULL behind the last.
 */
enum probe_answer probe_http(const char *authority, size_t length, const char *standard, const char *path,
                             const char *const headers[], int *status);
/* Whether a TLS port takes the connection: more is not asked. */
bool probe_connects(const char *authority, size_t length, const char *standard);
/* GET `path` from the FastCGI program at "unix:/path" or "host:port", as its Authorizer or its Responder. */
enum probe_answer probe_fastcgi(const char *listen, bool authorizer, const char *path, int *status);

#endif
