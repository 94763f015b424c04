/*
 * fastcgi: one FastCGI request after another, of a child of prefork.
 *
 * libfcgi's own FCGX_Accept_r breaks a request off when a signal comes while it is read: read(2) or poll(2) fail with EINTR
 * and the connection is closed without an answer (libfcgi 2.4, os_unix.c). Here a signal to stop ends only the waiting for a
 * request.
 *
 * A request has FASTCGI_TIMEOUT_US in all from its connection, or its first byte on a kept one, to its last parameter, and
 * its answer as long to be taken; then the connection is closed. A kept connection that is idle holds the process until
 * another one waits.
 */
#ifndef BASE_FASTCGI_H
#define BASE_FASTCGI_H

#include <stdbool.h>
#include <stdint.h>

#include <fcgiapp.h>

#define FASTCGI_TIMEOUT_US INT64_C(5000000)

struct fastcgi {
    FCGX_Request request; /* read its envp and in, write to its out */
    int listener;
    int64_t began_us; /* monotonic: when the connection was accepted, or a kept one had the request's first bytes */
};

/* False: the library can't start. */
bool fastcgi_init(struct fastcgi *f, int listener);
/* Finishes the request before, waits for the next and reads its parameters. False: it is time to end, see prefork_accept(). */
bool fastcgi_next(struct fastcgi *f);
/* Closes what is open. */
void fastcgi_term(struct fastcgi *f);

#endif
