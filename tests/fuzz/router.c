/*
 * router.c: any method and path against a table as tollgate-web's: a path that is found is one that its values make again.
 *
 * The first byte is the method, the rest the path.
 */
#include <stdio.h>
#include <talloc.h>

#include "lib/base/utf8.h"
#include "lib/web/router.h"
#include "tests/fuzz/input.h"

static const struct route table[] = {
    {METHOD_GET, "/", WHO_ANYONE, 0, BODY_NONE, false, NULL},
    {METHOD_GET, "/sign-in", WHO_ANYONE, 0, BODY_NONE, false, NULL},
    {METHOD_POST, "/sign-in", WHO_ANYONE, 0, BODY_FORM, true, NULL},
    {METHOD_GET, "/tenant/:id", WHO_VIEWER, 0, BODY_NONE, false, NULL},
    {METHOD_GET, "/api/tenant/:id/check", WHO_KEY, 0, BODY_NONE, false, NULL},
    {METHOD_POST, "/api/tenant/:id/check", WHO_KEY, 0, BODY_JSON, false, NULL},
    {METHOD_PUT, "/api/tenant/:id/:part", WHO_KEY, 0, BODY_JSON, false, NULL},
};

/* The route's path with the values in it. */
static char *path_again(void *pool, const struct route_match *m)
{
    char *path = talloc_strdup(pool, "");
    size_t n = 0;
    for (const char *at = m->route->path; *at;) {
        if (*at == ':') {
            must(n < m->n && strlen(m->values[n].name) == strcspn(at + 1, "/"));
            char *segment = router_segment(pool, m->values[n++].value);
            must(segment[strspn(segment, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")] ==
                 '\0');
            must(strspn(segment, ".") < strlen(segment));
            path = talloc_strdup_append(path, segment);
            at += strcspn(at, "/");
        } else {
            path = talloc_strndup_append(path, at++, 1);
        }
    }
    must(n == m->n);
    return path;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const enum request_method methods[] = {METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_OTHER};
    struct input in = {data, size};
    struct route_match m = {0}, again = {0};
    struct request r = {.method = methods[input_byte(&in) % 5], .pool = talloc_new(NULL)};
    char *path = input_line(&in), allow[64];
    r.path = path;
    enum status s = router_find(table, sizeof table / sizeof *table, &r, &m);
    must(s == STATUS_OK || s == STATUS_NOT_FOUND || s == STATUS_DENIED);
    must((s == STATUS_NOT_FOUND) == (m.allowed == 0) && (s == STATUS_OK) == ((m.allowed & r.method) != 0));
    must((strlen(router_allow(m.allowed, allow)) > 0) == (m.allowed != 0));
    if (s == STATUS_OK) {
        for (size_t i = 0; i < m.n; i++) {
            const char *value = m.values[i].value;
            must(strlen(value) <= ROUTER_VALUE_MAX && utf8_valid(value, strlen(value)));
            must(router_value(&m, m.values[i].name) != NULL);
        }
        r.path = path_again(r.pool, &m);
        must(router_find(table, sizeof table / sizeof *table, &r, &again) == STATUS_OK && again.route == m.route &&
             again.n == m.n);
        for (size_t i = 0; i < m.n; i++)
            must(strcmp(again.values[i].value, m.values[i].value) == 0);
    }
    talloc_free(r.pool);
    free(path);
    return 0;
}
