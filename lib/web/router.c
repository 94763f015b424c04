/* router.c: which route a request means */
#include "lib/web/router.h"

#include <string.h>
#include <talloc.h>

static bool same_path(const char *pattern, const char *path, struct route_match *m, void *pool)
{
    m->n = 0;
    for (;;) {
        size_t a = strcspn(pattern, "/"), b = strcspn(path, "/");

        if (a > 0 && pattern[0] == ':') {
            if (b == 0 || b > ROUTER_VALUE_MAX || m->n == ROUTER_VALUES)
                return false;
            m->values[m->n].name = talloc_strndup(pool, pattern + 1, a - 1);
            m->values[m->n].value = talloc_strndup(pool, path, b);
            m->n++;
        } else if (a != b || memcmp(pattern, path, a) != 0) {
            return false;
        }
        pattern += a;
        path += b;
        if (*pattern != *path)
            return false;
        if (*pattern == '\0')
            return true;
        pattern++;
        path++;
    }
}

enum status router_find(const struct route routes[], size_t n, const struct request *r, struct route_match *out)
{
    struct route_match found = {0};
    unsigned allowed = 0;

    for (size_t i = 0; i < n; i++) {
        struct route_match m = {.route = &routes[i]};

        if (!same_path(routes[i].path, r->path, &m, r->pool))
            continue;
        allowed |= routes[i].method;
        if (routes[i].method == r->method && found.route == NULL)
            found = m;
    }
    for (size_t i = 0; i < found.n; i++)
        if (found.values[i].name == NULL || found.values[i].value == NULL)
            return STATUS_NO_MEMORY;
    *out = found;
    out->allowed = allowed;
    return found.route != NULL ? STATUS_OK : allowed != 0 ? STATUS_DENIED : STATUS_NOT_FOUND;
}

const char *router_value(const struct route_match *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->values[i].name, name) == 0)
            return m->values[i].value;
    return NULL;
}

const char *router_allow(unsigned allowed, char out[64])
{
    static const struct {
        unsigned method;
        const char *text;
    } names[] = {{METHOD_GET, "GET, HEAD"}, {METHOD_POST, "POST"}, {METHOD_PUT, "PUT"}, {METHOD_DELETE, "DELETE"}};
    size_t length = 0;

    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((allowed & names[i].method) == 0)
            continue;
        if (length > 0)
            length += strlen(strcpy(out + length, ", "));
        length += strlen(strcpy(out + length, names[i].text));
    }
    return out;
}
