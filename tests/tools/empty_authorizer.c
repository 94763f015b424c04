/* empty_authorizer.c: what libfcgi costs by itself: an authorizer that answers 200 at once; the benchmark's measure */
#include <fcgiapp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void serve(int listener)
{
    static const char answer[] = "Status: 200 OK\r\n\r\n";
    FCGX_Request request;
    FCGX_InitRequest(&request, listener, FCGI_FAIL_ACCEPT_ON_INTR);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutStr(answer, sizeof answer - 1, request.out);
        FCGX_Finish_r(&request);
    }
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fputs("usage: empty_authorizer SOCKET PROCESSES\n", stderr);
        return 2;
    }
    FCGX_Init();
    int listener = FCGX_OpenSocket(argv[1], 1024);
    if (listener < 0)
        return 1;
    for (int i = atoi(argv[2]); i > 1; i--)
        if (fork() == 0)
            break;
    serve(listener);
    return 0;
}
