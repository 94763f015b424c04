/* echo.c: the demo's back end, which knows nothing of Tollgate: says in JSON what it was sent. Part of the demo, not of the product. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/fastcgi.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"

#define DELAY_MAX_MS 2000
#define BODY_MAX (16u << 20)

static struct json_object *headers_of(char *const *environment)
{
    struct json_object *headers = json_object_new_object();
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        char name[256];
        if (strncmp(*environment, "HTTP_", 5) != 0 || !equals || (size_t)(equals - *environment) - 5 >= sizeof name)
            continue;
        size_t n = (size_t)(equals - *environment) - 5;
        memcpy(name, *environment + 5, n);
        name[n] = '\0';
        for (char *p = name; *p; p++)
            *p = *p == '_' ? '-' : (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        if (strcmp(name, "authorization") != 0) /* a secret is not echoed */
            json_object_object_add(headers, name, json_object_new_string(equals + 1));
    }
    return headers;
}

static int number_of(const char *query, const char *name, int fallback)
{
    const char *at = query ? strstr(query, name) : NULL;
    return at ? atoi(at + strlen(name)) : fallback;
}

static long long drain(FCGX_Stream *in)
{
    char part[8192];
    long long sum = 0;
    for (int n; sum < BODY_MAX && (n = FCGX_GetStr(part, sizeof part, in)) > 0;)
        sum += n;
    return sum;
}

static void answer(FCGX_Request *r)
{
    const char *query = FCGX_GetParam("QUERY_STRING", r->envp), *uri = FCGX_GetParam("REQUEST_URI", r->envp);
    const char *method = FCGX_GetParam("REQUEST_METHOD", r->envp);
    int status = number_of(query, "status=", 200), delay = number_of(query, "delay_ms=", 0);
    struct json_object *o = json_object_new_object();
    if (status < 200 || status > 599)
        status = 200;
    if (delay > 0)
        usleep((useconds_t)(delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS) * 1000);
    json_object_object_add(o, "method", json_object_new_string(method ? method : ""));
    json_object_object_add(o, "uri", json_object_new_string(uri ? uri : ""));
    json_object_object_add(o, "body_bytes", json_object_new_int64(drain(r->in)));
    json_object_object_add(o, "headers", headers_of(r->envp));
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
    const char *own = number_of(query, "own_limit=", 0) ? "RateLimit: \"own\";r=7;t=60\r\n" : "";
    FCGX_FPrintF(r->out, "Status: %d Echo\r\nContent-Type: application/json\r\n%sContent-Length: %lu\r\n\r\n", status,
                 own, (unsigned long)strlen(text));
    if (!method || strcmp(method, "HEAD") != 0)
        FCGX_PutS(text, r->out);
    json_object_put(o);
}

static int serve(int listener, void *arg)
{
    struct fastcgi fastcgi;
    (void)arg;
    if (!fastcgi_init(&fastcgi, listener))
        return 1;
    prefork_ready();
    while (fastcgi_next(&fastcgi))
        answer(&fastcgi.request);
    fastcgi_term(&fastcgi);
    return 0;
}

int main(int argc, char *argv[])
{
    if (argc != 2) {
        fputs("usage: echo unix:/path/of/socket\n", stderr);
        return 2;
    }
    const char *listen[] = {argv[1]};
    const struct prefork_pool pool = {.listen = listen, .n_listen = 1, .processes = 4};
    struct prefork p = {.pools = &pool, .n_pools = 1, .argv = argv, .child = serve};
    log_init("echo", LOG_LEVEL_INFO);
    return prefork_run(&p) == STATUS_OK ? 0 : 1;
}
