/* endpoint.c: resolving paths as servers do, naming endpoints */
#include "lib/meter/endpoint.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define ID_NAME "/:id"
#define LONG_SEGMENT 16 /* a segment this long with a digit in it is taken for an id */

/*
 * Where the path begins: behind scheme and host of an absolute form. NULL when there is none: servers take an absolute form
 * whose host a query follows for "/", and a slash within that query is not a path's.
 */
static const char *path_of(const char *uri)
{
    if (uri[0] == '/')
        return uri;
    size_t scheme = strncasecmp(uri, "http://", 7) == 0 ? 7 : strncasecmp(uri, "https://", 8) == 0 ? 8 : 0;
    size_t host = scheme ? strcspn(uri + scheme, "/?#\\") : 0;
    return host > 0 && uri[scheme + host] == '/' ? uri + scheme + host : NULL;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the path at *p, decoded; -1 when servers would not agree on it. */
static int next_byte(const char **p)
{
    unsigned char c = (unsigned char)*(*p)++;
    if (c == '%') {
        int high = hex((*p)[0]), low = high < 0 ? -1 : hex((*p)[1]);
        if (low < 0)
            return -1;
        *p += 2;
        c = (unsigned char)(high << 4 | low);
        if (c == '/' || c == '%')
            return -1; /* an encoded slash; an encoded percent sign that a second decoding would read again */
    }
    return c < 0x20 || c == 0x7f || c == '\\' ? -1 : c;
}

/* Ends the segment that began at `start`: "." goes, ".." takes the one before with it. */
static enum status end_segment(char *path, size_t start, size_t *n)
{
    size_t length = *n - start;
    if (length == 1 && path[start] == '.') {
        *n = start;
    } else if (length == 2 && path[start] == '.' && path[start + 1] == '.') {
        if (start <= 1)
            return STATUS_INVALID; /* above the root */
        *n = start - 1;
        while (*n > 0 && path[*n - 1] != '/')
            --*n;
    }
    return STATUS_OK;
}

static size_t segment_start(const char *path, size_t n)
{
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n;
}

enum status endpoint_resolve(const char *uri, char path[ENDPOINT_PATH_SIZE], size_t *length)
{
    const char *p = path_of(uri);
    size_t n = 0;
    if (!p)
        return STATUS_INVALID;
    while (*p && *p != '?' && *p != '#') {
        bool encoded = *p == '%';
        int c = next_byte(&p);
        if (c < 0)
            return STATUS_INVALID;
        if (n + 2 > ENDPOINT_PATH_SIZE)
            return STATUS_LIMIT;
        if (c == '/' && !encoded) {
            if (n > 0 && end_segment(path, segment_start(path, n), &n) != STATUS_OK)
                return STATUS_INVALID;
            if (n > 0 && path[n - 1] == '/')
                continue;
        }
        path[n++] = (char)c;
    }
    if (end_segment(path, segment_start(path, n), &n) != STATUS_OK)
        return STATUS_INVALID;
    path[n] = '\0';
    *length = n;
    return STATUS_OK;
}

static bool is_uuid(const char *s, size_t n)
{
    if (n != 36)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : hex(s[i]) < 0)
            return false;
    }
    return true;
}

/* Numbers, UUIDs, hexadecimal of 8 and more with a digit, e-mail addresses, long segments with a digit (ULIDs, tokens, tenant_176…). */
static bool is_id(const char *s, size_t n)
{
    size_t digits = 0, hexes = 0;
    bool at = false, encoded = false;
    for (size_t i = 0; i < n; i++) {
        digits += s[i] >= '0' && s[i] <= '9';
        hexes += hex(s[i]) >= 0;
        at |= s[i] == '@';
        encoded |= (unsigned char)s[i] >= 0x80;
    }
    return digits == n || is_uuid(s, n) || (n >= 8 && hexes == n && digits) || (n >= LONG_SEGMENT && digits) || at ||
           encoded || n > 40;
}

size_t endpoint_normalise(const char *path, size_t length, char name[ENDPOINT_NAME_SIZE])
{
    static const char more[] = "/…";
    size_t n = 0, at = 0;
    while (at < length) {
        size_t begin = at + (path[at] == '/'), end = begin;
        while (end < length && path[end] != '/')
            end++;
        size_t segment = end - begin;
        if (segment) {
            bool id = is_id(path + begin, segment);
            size_t need = id ? sizeof(ID_NAME) - 1 : segment + 1;
            if (n + need + sizeof(more) > ENDPOINT_NAME_SIZE) {
                memcpy(name + n, more, sizeof(more) - 1);
                n += sizeof(more) - 1;
                break;
            }
            if (id) {
                memcpy(name + n, ID_NAME, need);
            } else {
                name[n] = '/';
                memcpy(name + n + 1, path + begin, segment);
            }
            n += need;
        }
        at = end > at ? end : at + 1;
    }
    if (n == 0)
        name[n++] = '/';
    name[n] = '\0';
    return n;
}
