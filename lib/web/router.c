/* router.c: which route a request means */
#include "lib/web/router.h"

#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "lib/base/utf8.h"

static int digit(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    return !at ? -1 : (int)(at - digits);
}

/* A segment with its "~2F" decoded; false when that gives a NUL or no UTF-8. */
static bool decode(void *pool, const char *segment, size_t length, const char **out)
{
    char *value = talloc_strndup(pool, segment, length);
    size_t n = 0;

    *out = value;
    if (!value)
        return true; /* router_find tells it */
    for (size_t i = 0; i < length; i++) {
        int high = value[i] == '~' ? digit(value[i + 1]) : -1;
        int low = high >= 0 ? digit(value[i + 2]) : -1;

        if (low < 0) {
            value[n++] = value[i];
            continue;
        }
        if (high == 0 && low == 0)
            return false;
        value[n++] = (char)(high << 4 | low);
        i += 2;
    }
    value[n] = '\0';
    return utf8_valid(value, n);
}

char *router_segment(void *pool, const char *value)
{
    bool dots = value[strspn(value, ".")] == '\0';
    char *segment = talloc_array(pool, char, 3 * strlen(value) + 1), *to = segment;

    if (!segment)
        return NULL;
    for (const char *p = value; *p != '\0'; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || *p == '-' ||
                     *p == '_' || (*p == '.' && !dots);

        to += sprintf(to, plain ? "%c" : "~%02X", (unsigned char)*p);
    }
    *to = '\0';
    return segment;
}

static bool same_path(const char *pattern, const char *path, struct route_match *m, void *pool)
{
    m->n = 0;
    for (;;) {
        size_t a = strcspn(pattern, "/"), b = strcspn(path, "/");

        if (a > 0 && pattern[0] == ':') {
            if (b == 0 || b > 3 * ROUTER_VALUE_MAX || m->n == ROUTER_VALUES ||
                !decode(pool, path, b, &m->values[m->n].value))
                return false;
            if (m->values[m->n].value && strlen(m->values[m->n].value) > ROUTER_VALUE_MAX)
                return false;
            m->values[m->n].name = talloc_strndup(pool, pattern + 1, a - 1);
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
        if (routes[i].method == r->method && !found.route)
            found = m;
    }
    for (size_t i = 0; i < found.n; i++)
        if (!found.values[i].name || !found.values[i].value)
            return STATUS_NO_MEMORY;
    *out = found;
    out->allowed = allowed;
    return found.route ? STATUS_OK : allowed != 0 ? STATUS_DENIED : STATUS_NOT_FOUND;
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
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((allowed & names[i].method) == 0)
            continue;
        if (length > 0)
            length += strlen(strcpy(out + length, ", "));
        length += strlen(strcpy(out + length, names[i].text));
    }
    return out;
}
