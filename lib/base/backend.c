/* backend.c: reading the lines of [backends], and whether they can stand beside the other addresses */
#include "lib/base/backend.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/address.h"
#include "lib/base/config.h"

#define say(problem, ...) status_say(STATUS_INVALID, problem, __VA_ARGS__)

static const char right[] = "write /path = http://host:port, http:unix:/path/of/socket, fastcgi://host:port or "
                            "fastcgi:unix:/path/of/socket";

static bool all_plain(const char *text, const char *more)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr(more, *text))
            return false;
    return true;
}

static bool is_port(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return isdigit((unsigned char)*text) && !*end && n >= 1 && n <= 65535;
}

/* "host:port" or "[v6]:port". */
static bool is_host_and_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    char host[128];
    size_t n = colon ? (size_t)(colon - address) : 0;

    if (!colon || n == 0 || n >= sizeof(host) || !is_port(colon + 1))
        return false;
    memcpy(host, address, n);
    host[n] = '\0';
    if (host[0] != '[')
        return all_plain(host, ".-");
    return n > 2 && host[n - 1] == ']' && strspn(host + 1, "0123456789abcdefABCDEF:.") == n - 2;
}

bool backend_address_is_plain(const char *address)
{
    if (strncmp(address, "unix:/", 6) == 0)
        return address[6] && all_plain(address + 5, "._~-/:@+, ");
    return is_host_and_port(address);
}

enum status backend_parse(const char *path, const char *target, struct backend *out, char problem[512])
{
    const char *address = NULL;

    memset(out, 0, sizeof(*out));
    if (strncmp(target, "http://", 7) == 0)
        address = target + 7;
    else if (strncmp(target, "http:unix:", 10) == 0)
        address = target + 5;
    else if (strncmp(target, "fastcgi://", 10) == 0)
        address = target + 10;
    else if (strncmp(target, "fastcgi:unix:", 13) == 0)
        address = target + 8;
    out->fastcgi = target[0] == 'f';
    if (!address || strlen(address) >= sizeof(out->address) || !backend_address_is_plain(address)) {
        const char *slash = address && strncmp(address, "unix:", 5) != 0 ? strchr(address, '/') : NULL;

        return slash ? say(problem,
                           "backends.%.100s: \"%.100s\" is wrong; leave %.60s out: the call's own path is handed on",
                           path, target, slash)
                     : say(problem, "backends.%.100s: \"%.100s\" is wrong; %s", path, target, right);
    }
    if (strlen(path) >= sizeof(out->path) || !address_is_path(path))
        return say(
            problem,
            "backends: \"%.100s\" is not a path; it must begin with a slash and not end in one, without empty or "
            "dot segments, of letters, digits and . _ ~ -",
            path);
    strcpy(out->path, path);
    strcpy(out->address, address);
    return STATUS_OK;
}

enum status backend_check(const struct config *c, char problem[512])
{
    for (size_t i = 0; i < c->n_backends; i++) {
        const char *path = c->backends[i].path;

        for (size_t j = 0; j < i; j++)
            if (strcmp(path, c->backends[j].path) == 0)
                return say(problem, "backends.%.200s is listed twice; remove one of the lines", path);
        switch (address_of(c, path)) {
        case ADDRESS_METERED:
        case ADDRESS_UNMETERED:
            break;
        case ADDRESS_OUTSIDE:
        case ADDRESS_PAGE:
            return say(problem,
                       "backends: %.200s is not metered; name a path at or below one in gate.prefix, and hand the "
                       "others on in the web server's own configuration",
                       path);
        default:
            return say(problem,
                       "backends: %.200s is Tollgate's own; choose another path, or move Tollgate's with "
                       "web.api_prefix or web.page_prefix",
                       path);
        }
    }
    return STATUS_OK;
}
