/* probe.c: one question over HTTP or FastCGI */
#include "cli/probe.h"

#include <fastcgi.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <curl/curl.h>

#include "lib/base/io.h"

#define ANSWER_MOST 8192

/* ---- HTTP ---- */

/* The status line is all that is asked for: the first byte behind the headers ends it. */
static size_t no_more(char *bytes, size_t size, size_t n, void *arg)
{
    (void)bytes, (void)size, (void)n, (void)arg;
    return 0;
}

/* NULL without memory. */
static CURL *curl_for(const char *authority, size_t length, const char *standard)
{
    CURL *c = curl_easy_init();
    const char *port = memchr(authority, ']', length);
    char url[300];

    port = memchr(port ? port : authority, ':', length - (size_t)(port ? port - authority : 0));
    snprintf(url, sizeof(url), "http://%.*s%s%s/", (int)length, authority, port ? "" : ":", port ? "" : standard);
    if (!c || curl_easy_setopt(c, CURLOPT_URL, url) != CURLE_OK) {
        curl_easy_cleanup(c);
        return NULL;
    }
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)PROBE_PATIENCE_S);
    return c;
}

bool probe_connects(const char *authority, size_t length, const char *standard)
{
    CURL *c = curl_for(authority, length, standard);
    bool connects;

    if (!c)
        return false;
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    connects = curl_easy_perform(c) == CURLE_OK;
    curl_easy_cleanup(c);
    return connects;
}

enum probe_answer probe_http(const char *authority, size_t length, const char *standard, const char *path,
                             const char *const headers[], int *status)
{
    CURL *c = curl_for(authority, length, standard);
    struct curl_slist *lines = NULL;
    long connected = 0, said = 0;

    if (!c)
        return PROBE_NOTHING;
    for (size_t i = 0; headers[i]; i++)
        lines = curl_slist_append(lines, headers[i]);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(c, CURLOPT_REQUEST_TARGET, path); /* to the letter: odd spellings are what is tried */
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, no_more);
    if (curl_easy_perform(c) != CURLE_OK)
        curl_easy_getinfo(c, CURLINFO_NUM_CONNECTS, &connected);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &said);
    curl_slist_free_all(lines);
    curl_easy_cleanup(c);
    *status = (int)said;
    return said > 0 ? PROBE_ANSWERS : connected > 0 ? PROBE_SILENT : PROBE_NOTHING;
}

/* ---- FastCGI ---- */

/* A connected socket, or -1. */
static int connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PROBE_PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); /* a full backlog is waited for */
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The same; the caller closes it, and curl no more. */
static int connect_tcp(const char *authority)
{
    CURL *c = curl_for(authority, strlen(authority), "9000");
    curl_socket_t its = CURL_SOCKET_BAD;
    int fd = -1;

    if (c && curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L) == CURLE_OK && curl_easy_perform(c) == CURLE_OK &&
        curl_easy_getinfo(c, CURLINFO_ACTIVESOCKET, &its) == CURLE_OK && (fd = fcntl(its, F_DUPFD_CLOEXEC, 0)) >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    curl_easy_cleanup(c);
    return fd;
}

struct message {
    unsigned char bytes[1024];
    size_t n;
};

static void put_record(struct message *m, int type, const unsigned char *body, size_t length)
{
    const unsigned char head[FCGI_HEADER_LEN] = {
        FCGI_VERSION_1, (unsigned char)type, 0, 1, (unsigned char)(length >> 8), (unsigned char)length, 0, 0};

    if (m->n + sizeof(head) + length > sizeof(m->bytes))
        return;
    memcpy(m->bytes + m->n, head, sizeof(head));
    if (length)
        memcpy(m->bytes + m->n + sizeof(head), body, length);
    m->n += sizeof(head) + length;
}

/* Both shorter than 128 bytes. */
static size_t put_pair(unsigned char *out, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);

    out[0] = (unsigned char)n;
    out[1] = (unsigned char)v;
    memcpy(out + 2, name, n);
    memcpy(out + 2 + n, value, v);
    return 2 + n + v;
}

static void ask(struct message *m, bool authorizer, const char *path)
{
    const unsigned char begin[] = {0, authorizer ? FCGI_AUTHORIZER : FCGI_RESPONDER, 0, 0, 0, 0, 0, 0};
    unsigned char params[512];
    char uri[128]; /* what put_pair takes; a longer prefix is asked by its beginning */
    size_t n = 0;

    snprintf(uri, sizeof(uri), "%s", path);
    n += put_pair(params + n, "REQUEST_METHOD", "GET");
    n += put_pair(params + n, "REQUEST_URI", uri);
    n += put_pair(params + n, "SCRIPT_NAME", uri);
    n += put_pair(params + n, "SERVER_PROTOCOL", "HTTP/1.1");
    m->n = 0;
    put_record(m, FCGI_BEGIN_REQUEST, begin, sizeof(begin));
    put_record(m, FCGI_PARAMS, params, n);
    put_record(m, FCGI_PARAMS, NULL, 0);
    put_record(m, FCGI_STDIN, NULL, 0);
}

static bool read_whole(int fd, unsigned char *out, size_t length)
{
    for (size_t used = 0; used < length;) {
        ssize_t n = read(fd, out + used, length - used);

        if (n <= 0)
            return false;
        used += (size_t)n;
    }
    return true;
}

/* The beginning of what the program writes, up to the request's end; false when that does not come. */
static bool read_output(int fd, char out[ANSWER_MOST])
{
    unsigned char head[FCGI_HEADER_LEN], body[65536 + 256];
    size_t used = 0;

    for (int records = 0; records < 64; records++) {
        if (!read_whole(fd, head, sizeof(head)))
            return false;
        size_t length = (size_t)head[4] << 8 | head[5];

        if (!read_whole(fd, body, length + head[6]))
            return false;
        if (head[1] == FCGI_STDOUT) {
            size_t n = length < ANSWER_MOST - 1 - used ? length : ANSWER_MOST - 1 - used;

            memcpy(out + used, body, n);
            used += n;
        }
        out[used] = '\0';
        if (head[1] == FCGI_END_REQUEST)
            return used > 0;
    }
    return false;
}

enum probe_answer probe_fastcgi(const char *listen, bool authorizer, const char *path, int *status)
{
    char output[ANSWER_MOST] = "";
    struct message m;
    const char *line;
    struct timeval patience = {.tv_sec = PROBE_PATIENCE_S};
    int fd = strncmp(listen, "unix:", 5) == 0 ? connect_unix(listen + 5) : connect_tcp(listen);
    bool answered;

    if (fd < 0)
        return PROBE_NOTHING;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ask(&m, authorizer, path);
    answered = io_write_all(fd, m.bytes, m.n) == STATUS_OK && read_output(fd, output);
    close(fd);
    if (!answered)
        return PROBE_SILENT;
    line = strcasestr(output, "Status:");
    *status = line ? (int)strtol(line + 7, NULL, 10) : 200;
    return PROBE_ANSWERS;
}
