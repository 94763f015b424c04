/* fastcgi.c: waiting outside of libfcgi, reading and answering inside */
#include "lib/base/fastcgi.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/prefork.h"

#define NO_LISTENER (-1) /* libfcgi fails rather than waits, where it would accept by itself after a broken request */

bool fastcgi_init(struct fastcgi *f, int listener)
{
    f->listener = listener;
    return FCGX_Init() == 0 && FCGX_InitRequest(&f->request, NO_LISTENER, 0) == 0;
}

/*
 * Sends the rest of the answer and closes. libfcgi waits up to 2 s for the web server to close first, lest bytes that it still
 * sends break its reading of the answer; where FCGI_STDIN's end has been read there are none, and nothing to wait for.
 */
static void finish(FCGX_Request *request)
{
    FCGX_FClose(request->err);
    FCGX_FClose(request->out);
    if (!request->keepConnection && fcntl(request->ipcFd, F_SETFL, O_NONBLOCK) == 0 &&
        FCGX_GetChar(request->in) == EOF && FCGX_GetError(request->in) == 0)
        request->detached = 1;
    FCGX_Finish_r(request);
}

/* Waits for a connection, or for the next request on the one that was kept. */
static bool wait_for(struct fastcgi *f)
{
    FCGX_Request *r = &f->request;
    enum prefork_wait w = r->ipcFd < 0 ? PREFORK_WANTED : prefork_wait(r->ipcFd, f->listener);
    if (w == PREFORK_STOPPING)
        return false;
    if (w == PREFORK_WANTED) {
        if (r->ipcFd >= 0)
            FCGX_Free(r, 1);
        r->ipcFd = prefork_accept(f->listener);
    }
    f->began_us = clock_mono_us();
    return r->ipcFd >= 0;
}

bool fastcgi_next(struct fastcgi *f)
{
    FCGX_Request *r = &f->request;
    if (r->in) {
        prefork_deadline(r->ipcFd, clock_mono_us() + FASTCGI_TIMEOUT_US);
        finish(r);
        prefork_deadline(-1, 0);
    }
    while (wait_for(f)) {
        prefork_deadline(r->ipcFd, f->began_us + FASTCGI_TIMEOUT_US);
        /* Without it FCGX_Accept_r closes the connection; the request's own flag then says whether it is kept. */
        r->keepConnection = 1;
        bool ok = FCGX_Accept_r(r) == 0;
        prefork_deadline(-1, 0);
        if (ok)
            return true;
    }
    return false;
}

void fastcgi_term(struct fastcgi *f)
{
    FCGX_Free(&f->request, 1);
}
