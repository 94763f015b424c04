/* address.c: what a path is, by the most specific of the configured prefixes */
#include "lib/base/address.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define PREFIX_MAX 200 /* bytes */
#define HEADER_MAX 40

const char *const address_api_routes[] = {"/usage", "/subscription", "/tenants", NULL};
#define API_UNMETERED 2 /* the first two of them are never metered */

const char *const address_page_routes[] = {"/static", "/sign-in", "/sign-out", "/account", "/tenant", "/tenants",
                                           "/status", "/healthz", "/readyz",   "/metrics", NULL};

const char *address_base(const char *prefix)
{
    return strcmp(prefix, "/") == 0 ? "" : prefix;
}

bool address_below(const char *path, const char *prefix)
{
    size_t n = strlen(address_base(prefix));
    return strncmp(path, prefix, n) == 0 && (path[n] == '/' || (path[n] == '\0' && n > 0));
}

/* The path below a prefix that holds it: "/x" of "/api/x" and "/api"; "/" for the prefix itself. Points into `path`. */
static const char *rest_of(const char *path, const char *prefix)
{
    const char *rest = path + strlen(address_base(prefix));
    return *rest ? rest : "/";
}

/* Is `path` at or below `route`, which stands below `prefix`? */
static bool below_route(const char *path, const char *prefix, const char *route)
{
    return address_below(path, prefix) && address_below(rest_of(path, prefix), route);
}

/* Index of the route in the table, -1 when the path is none of them. */
static int route_of(const char *path, const char *prefix, const char *const routes[])
{
    for (int i = 0; routes[i]; i++)
        if (below_route(path, prefix, routes[i]))
            return i;
    return -1;
}

/* The length of the longest prefix in `list` that holds the path; 0: none does. */
static size_t longest(const char *path, const char *const list[], size_t n)
{
    size_t best = 0;
    for (size_t i = 0; i < n && list[i]; i++)
        if (address_below(path, list[i]) && strlen(list[i]) > best)
            best = strlen(list[i]);
    return best;
}

enum address address_of(const struct config *c, const char *path)
{
    size_t metered = longest(path, c->gate.prefix, CONFIG_METERED);
    size_t unmetered = longest(path, c->gate.unmetered, CONFIG_PREFIXES);
    size_t api = longest(path, &c->web.api_prefix, 1), page = longest(path, &c->web.page_prefix, 1);
    int route = api ? route_of(path, c->web.api_prefix, address_api_routes) : -1;
    if (route >= 0)
        return route >= API_UNMETERED && metered == api ? ADDRESS_API_METERED : ADDRESS_API;
    if (page > api && page > metered && page >= unmetered)
        return ADDRESS_PAGE;
    if (api > metered && api >= unmetered)
        return ADDRESS_API;
    if (!metered)
        return ADDRESS_OUTSIDE;
    return unmetered > metered ? ADDRESS_UNMETERED : ADDRESS_METERED;
}

/* ---- are they right? ---- */

#define say(problem, ...) status_say(STATUS_INVALID, problem, __VA_ARGS__)

/* "/", or "/x/y": no slash at the end, no empty or dot segments, nothing that would have to be encoded. */
bool address_is_path(const char *prefix)
{
    if (prefix[0] != '/' || strlen(prefix) > PREFIX_MAX)
        return false;
    for (const char *at = prefix; *at && strcmp(prefix, "/") != 0;) {
        size_t n = strcspn(++at, "/");
        if (n == 0 || (n <= 2 && strspn(at, ".") >= n))
            return false;
        for (; n > 0; n--, at++)
            if (!isalnum((unsigned char)*at) && !strchr("._~-", *at))
                return false;
    }
    return true;
}

static enum status check_form(const char *key, const char *prefix, char problem[512])
{
    if (address_is_path(prefix))
        return STATUS_OK;
    return say(problem,
               "%s: \"%.100s\" is not a path; it must begin with a slash and not end in one, without empty or dot "
               "segments, of letters, digits and . _ ~ -, at most %d bytes",
               key, prefix, PREFIX_MAX);
}

static enum status check_list(const char *key, const char *const list[], size_t n, char problem[512])
{
    for (size_t i = 0; i < n && list[i]; i++) {
        if (check_form(key, list[i], problem) != STATUS_OK)
            return STATUS_INVALID;
        for (size_t j = 0; j < i; j++)
            if (strcmp(list[i], list[j]) == 0)
                return say(problem, "%s: \"%.100s\" is listed twice; leave one out", key, list[i]);
    }
    return STATUS_OK;
}

/* Names that already mean something to servers, to FastCGI, or to Tollgate itself. */
static bool header_is_taken(const char *name)
{
    /* clang-format off */
    static const char *const names[] = {
        "Accept", "Connection", "Cookie", "Date", "Expect", "Forwarded", "From", "Host", "HTTP2-Settings",
        "Keep-Alive", "Origin", "Pragma", "Proxy", "Range", "Referer", "Set-Cookie", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "User-Agent", "Via", "Warning", "Cache-Control", "X-Tenant-ID",
        "X-Request-Id", "X-Real-IP"};
    /* clang-format on */
    static const char *const families[] = {"Accept-", "Access-Control-", "CE-",        "Content-", "If-", "Proxy-",
                                           "Sec-",    "X-Forwarded-",    "X-Tollgate-"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strncasecmp(name, families[i], strlen(families[i])) == 0)
            return true;
    return false;
}

static enum status check_header(const char *name, char problem[512])
{
    bool token = isalpha((unsigned char)name[0]) && strlen(name) <= HEADER_MAX;
    for (const char *p = name; *p; p++)
        token = token && (isalnum((unsigned char)*p) || *p == '-');
    if (!token)
        return say(
            problem,
            "gate.key_header: \"%.100s\" is not a header's name; write Authorization, or a name of letters, digits "
            "and hyphens such as X-API-Key",
            name);
    if (header_is_taken(name))
        return say(problem, "gate.key_header: %s has another meaning; choose another header, such as X-API-Key", name);
    return STATUS_OK;
}

/* A prefix that would take the place of one of Tollgate's own routes. */
static enum status check_covered(const struct config *c, const char *key, const char *prefix, char problem[512])
{
    int api = route_of(prefix, c->web.api_prefix, address_api_routes);
    int page = route_of(prefix, c->web.page_prefix, address_page_routes);
    if (api >= 0)
        return say(problem,
                   "%s: %s takes the place of Tollgate's own API at %s%s; set web.api_prefix to another path, such as "
                   "/tollgate/api",
                   key, prefix, address_base(c->web.api_prefix), address_api_routes[api]);
    if (page >= 0)
        return say(
            problem,
            "%s: %s takes the place of Tollgate's own page at %s%s; set web.page_prefix to another path, such as "
            "/usage",
            key, prefix, address_base(c->web.page_prefix), address_page_routes[page]);
    return STATUS_OK;
}

static enum status check_together(const struct config *c, char problem[512])
{
    enum status s = check_covered(c, "web.page_prefix", c->web.page_prefix, problem);
    if (s == STATUS_OK && strcmp(c->web.api_prefix, c->web.page_prefix) == 0)
        s = say(problem, "web.api_prefix and web.page_prefix are both %s; set one of them to another path",
                c->web.page_prefix);
    if (s == STATUS_OK)
        s = check_covered(c, "web.api_prefix", c->web.api_prefix, problem);
    for (size_t i = 0; s == STATUS_OK && i < CONFIG_METERED && c->gate.prefix[i]; i++) {
        s = check_covered(c, "gate.prefix", c->gate.prefix[i], problem);
        if (s == STATUS_OK && strcmp(c->gate.prefix[i], c->web.page_prefix) == 0)
            s = say(problem,
                    "gate.prefix and web.page_prefix are both %s, so the pages could not be reached; set "
                    "web.page_prefix to another path, such as /usage",
                    c->web.page_prefix);
    }
    for (size_t i = 0; s == STATUS_OK && i < CONFIG_PREFIXES && c->gate.unmetered[i]; i++) {
        size_t around = longest(c->gate.unmetered[i], c->gate.prefix, CONFIG_METERED);
        if (around == 0 || around == strlen(c->gate.unmetered[i]))
            s = say(problem, "gate.unmetered: %s is not below one of the paths in gate.prefix; leave it out",
                    c->gate.unmetered[i]);
    }
    return s;
}

enum status address_check(const struct config *c, char problem[512])
{
    enum status s = check_list("gate.prefix", c->gate.prefix, CONFIG_METERED, problem);
    if (s == STATUS_OK && !c->gate.prefix[0])
        s = say(problem, "gate.prefix: no path is metered; name at least one, such as /api");
    if (s == STATUS_OK)
        s = check_list("gate.unmetered", c->gate.unmetered, CONFIG_PREFIXES, problem);
    if (s == STATUS_OK)
        s = check_form("web.api_prefix", c->web.api_prefix, problem);
    if (s == STATUS_OK)
        s = check_form("web.page_prefix", c->web.page_prefix, problem);
    if (s == STATUS_OK)
        s = check_header(c->gate.key_header, problem);
    return s == STATUS_OK ? check_together(c, problem) : s;
}
