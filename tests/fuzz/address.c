/*
 * address.c: any target and any prefixes: what is metered does not depend on how a path is spelled.
 *
 * A line each: the target, a metered prefix, an unmetered one, the API's, the pages'; an empty one is the usual one.
 */
#include <stdio.h>

#include "lib/base/address.h"
#include "lib/meter/endpoint.h"
#include "tests/fuzz/input.h"

/* The path spelled with each byte that `all` or need tells encoded, but for slashes. */
static void spell(const char *path, bool all, char out[3 * ENDPOINT_PATH_SIZE])
{
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = c == '/' || (!all && c > 0x20 && c < 0x7f && c != '?' && c != '#');
        out += sprintf(out, plain ? "%c" : "%%%02x", c);
    }
    *out = '\0';
}

static void must_be_resolved(const char *path, size_t length)
{
    must(path[0] == '/' && strlen(path) == length && length < ENDPOINT_PATH_SIZE);
    must(!strstr(path, "//") && !strchr(path, '%') && !strchr(path, '\\'));
    for (const char *at = path; *at; at += strcspn(at, "/")) {
        size_t n = strcspn(++at, "/");
        must(n == 0 || n > 2 || strspn(at, ".") < n);
    }
}

static void must_be_the_same_in_any_spelling(const char *path, size_t length)
{
    char spelling[3 * ENDPOINT_PATH_SIZE], again[ENDPOINT_PATH_SIZE];
    for (int all = 0; all <= 1; all++) {
        size_t n = 0;
        spell(path, all, spelling);
        must(endpoint_resolve(spelling, again, &n) == STATUS_OK && n == length && strcmp(again, path) == 0);
    }
}

static void name_it(const char *path, size_t length)
{
    char name[ENDPOINT_NAME_SIZE], again[ENDPOINT_NAME_SIZE];
    size_t n = endpoint_normalise(path, length, name);
    must(n < ENDPOINT_NAME_SIZE && strlen(name) == n && name[0] == '/' && !strstr(name, "//"));
    if (strstr(name, "…"))
        return;
    must(endpoint_normalise(name, n, again) == n && strcmp(again, name) == 0);
}

static bool holds(const struct config *c, const char *path)
{
    return (c->gate.prefix[0] && address_below(path, c->gate.prefix[0])) || address_below(path, c->web.api_prefix) ||
           address_below(path, c->web.page_prefix);
}

static void place_it(const struct config *c, const char *path, size_t length)
{
    char slashed[ENDPOINT_PATH_SIZE + 1];
    enum address is = address_of(c, path);
    must((is == ADDRESS_OUTSIDE) <= !address_below(path, c->gate.prefix[0]));
    must(is == ADDRESS_OUTSIDE || holds(c, path));
    if (is == ADDRESS_METERED || is == ADDRESS_UNMETERED || is == ADDRESS_API_METERED)
        must(address_below(path, c->gate.prefix[0]));
    must((is != ADDRESS_UNMETERED) || address_below(path, c->gate.unmetered[0]));
    if (path[length - 1] != '/') {
        snprintf(slashed, sizeof slashed, "%s/", path);
        must(address_of(c, slashed) == is);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct input in = {data, size};
    char *uri = input_line(&in), *prefix = input_line(&in), *unmetered = input_line(&in), *api = input_line(&in),
         *page = input_line(&in);
    struct config c = {0};
    char path[ENDPOINT_PATH_SIZE], problem[512];
    size_t length = 0;
    enum status resolved = endpoint_resolve(uri, path, &length);
    enum status right;

    c.gate.prefix[0] = *prefix ? prefix : "/api";
    c.gate.unmetered[0] = *unmetered ? unmetered : NULL;
    c.web.api_prefix = *api ? api : "/api";
    c.web.page_prefix = *page ? page : "/";
    c.gate.key_header = "Authorization";
    right = address_check(&c, problem);
    must(right == STATUS_OK || (right == STATUS_INVALID && strlen(problem) > 0));
    if (right == STATUS_OK)
        must(address_of(&c, c.gate.prefix[0]) == ADDRESS_METERED);
    if (resolved == STATUS_OK) {
        must_be_resolved(path, length);
        must_be_the_same_in_any_spelling(path, length);
        name_it(path, length);
        if (right == STATUS_OK)
            place_it(&c, path, length);
    }
    free(uri);
    free(prefix);
    free(unmetered);
    free(api);
    free(page);
    return 0;
}
