/* fastcgi.c: waiting outside of libfcgi, reading and answering inside */
#include "lib/base/fastcgi.h"

#include <fcntl.h>
#include <stdio.h>

#include "lib/base/prefork.h"

#define NO_LISTENER (-1) /* libfcgi fails rather than waits, where it would accept by itself after a broken request */

bool fastcgi_init(FCGX_Request *request)
{
    return FCGX_Init() == 0 && FCGX_InitRequest(request, NO_LISTENER, 0) == 0;
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

bool fastcgi_next(FCGX_Request *request, int listener)
{
    if (request->in)
        finish(request);
    for (;;) {
        bool kept = request->ipcFd >= 0;
        if (!kept)
            request->ipcFd = prefork_accept(listener);
        if (kept ? !prefork_readable(request->ipcFd) : request->ipcFd < 0)
            return false;
        /* FCGX_Accept_r would close it otherwise; what shall become of it is read with the request. */
        request->keepConnection = 1;
        if (FCGX_Accept_r(request) == 0)
            return true;
    }
}

void fastcgi_term(FCGX_Request *request)
{
    FCGX_Free(request, 1);
}
