/*
 * fastcgi: the next request of a FastCGI program under prefork.
 *
 * libfcgi's own FCGX_Accept_r breaks a request off when a signal comes while it is read: read(2) or poll(2) fail with EINTR and
 * the connection is closed without an answer (libfcgi 2.4, os_unix.c). Here a signal to stop ends only the waiting for a request.
 */
#ifndef BASE_FASTCGI_H
#define BASE_FASTCGI_H

#include <stdbool.h>

#include <fcgiapp.h>

/* False: the library can't start. */
bool fastcgi_init(FCGX_Request *request);
/* Finishes the request before, waits for the next and reads its parameters. False: it is time to end, see prefork_accept(). */
bool fastcgi_next(FCGX_Request *request, int listener);
/* Closes what is open. */
void fastcgi_term(FCGX_Request *request);

#endif
