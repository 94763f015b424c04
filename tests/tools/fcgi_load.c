/*
 * fcgi_load.c: calls to a FastCGI authorizer, a connection each as lighttpd and nginx make them, FCGI_STDIN's end in the same write:
 * fcgi_load SOCKET CLIENTS CALLS KEYS; prints calls a second, median and p99 in microseconds, and answers that were not 200.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define REQUEST_SIZE 1024
#define HEADER 8

struct shared {
    uint32_t refused, failed;
    int32_t took_us[];
};

static size_t add_record(unsigned char *out, int type, const void *content, size_t n)
{
    const unsigned char header[HEADER] = {1, (unsigned char)type, 0, 1, (unsigned char)(n >> 8), (unsigned char)n, 0,
                                          0};
    memcpy(out, header, HEADER);
    if (n)
        memcpy(out + HEADER, content, n);
    return HEADER + n;
}

static size_t add_pair(unsigned char *out, const char *name, const char *value)
{
    out[0] = (unsigned char)strlen(name); /* all below 128 */
    out[1] = (unsigned char)strlen(value);
    memcpy(out + 2, name, out[0]);
    memcpy(out + 2 + out[0], value, out[1]);
    return 2u + out[0] + out[1];
}

static size_t build(unsigned char *out, long key)
{
    static const unsigned char begin[8] = {0, 2}; /* authorizer, close afterwards */
    unsigned char pairs[REQUEST_SIZE / 2];
    char bearer[64], uri[64];
    size_t n = 0;
    snprintf(bearer, sizeof bearer, "Bearer fill-%ld", key);
    snprintf(uri, sizeof uri, "/api/patients/%ld?page=2", key);
    n += add_pair(pairs + n, "REQUEST_METHOD", "GET");
    n += add_pair(pairs + n, "REQUEST_URI", uri);
    n += add_pair(pairs + n, "SERVER_PROTOCOL", "HTTP/1.1");
    n += add_pair(pairs + n, "SERVER_SOFTWARE", "lighttpd/1.4.69");
    n += add_pair(pairs + n, "REMOTE_ADDR", "127.0.0.1");
    n += add_pair(pairs + n, "HTTP_HOST", "127.0.0.1:8080");
    n += add_pair(pairs + n, "HTTP_USER_AGENT", "fcgi_load");
    n += add_pair(pairs + n, "HTTP_ACCEPT", "application/json");
    n += add_pair(pairs + n, "HTTP_AUTHORIZATION", bearer);
    size_t length = add_record(out, 1, begin, sizeof begin);
    length += add_record(out + length, 4, pairs, n);
    length += add_record(out + length, 4, NULL, 0);
    return length + add_record(out + length, 5, NULL, 0);
}

/* 200, another status, or -1 when the connection broke. */
static int call(const struct sockaddr_un *to, const unsigned char *request, size_t length)
{
    char answer[4096];
    size_t got = 0;
    ssize_t n = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 &&
        write(fd, request, length) == (ssize_t)length)
        while (got < sizeof answer && (n = read(fd, answer + got, sizeof answer - got)) > 0)
            got += (size_t)n;
    close(fd);
    if (n < 0 || got < HEADER + 11)
        return -1;
    return strncmp(answer + HEADER, "Status: 200", 11) == 0 ? 200 : 500;
}

static int ascending(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char *argv[])
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (argc != 5) {
        fputs("usage: fcgi_load SOCKET CLIENTS CALLS KEYS\n", stderr);
        return 2;
    }
    long clients = atol(argv[2]), calls = atol(argv[3]), keys = atol(argv[4]);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", argv[1]);
    struct shared *s = mmap(NULL, sizeof *s + (size_t)(clients * calls) * sizeof(int32_t), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED || clients < 1 || calls < 1 || keys < 1)
        return 1;
    int64_t began = clock_mono_us();
    for (long c = 0; c < clients; c++) {
        if (fork() != 0)
            continue;
        unsigned char request[REQUEST_SIZE];
        for (long i = 0; i < calls; i++) {
            size_t length = build(request, (c * calls + i) * 7919 % keys);
            int64_t at = clock_mono_us();
            int status = call(&to, request, length);
            s->took_us[c * calls + i] = (int32_t)(clock_mono_us() - at);
            if (status != 200)
                __atomic_add_fetch(status < 0 ? &s->failed : &s->refused, 1, __ATOMIC_RELAXED);
        }
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
    double seconds = (double)(clock_mono_us() - began) / 1e6;
    long n = clients * calls;
    qsort(s->took_us, (size_t)n, sizeof s->took_us[0], ascending);
    printf("%.0f %d %d %u %u\n", (double)n / seconds, s->took_us[n / 2], s->took_us[n * 99 / 100], s->refused,
           s->failed);
    return 0;
}
