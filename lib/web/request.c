/* request.c: FCGI's parameters and a body become a checked request */
#include "lib/web/request.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <talloc.h>

#include "lib/base/utf8.h"
#include "lib/meter/endpoint.h"

#define ID_BYTES 12

static const char *parameter(char *const environment[], const char *name)
{
    size_t length = strlen(name);

    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

enum status request_refuse(struct request_refusal *why, int status, const char *code, const char *message,
                           const char *detail)
{
    *why = (struct request_refusal){status, code, message, detail};
    return STATUS_INVALID;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long request_percent_decode(const char *text, size_t length, bool form, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (c == '%') {
            bool whole = i + 2 < length;
            int high = whole ? hex(text[i + 1]) : -1, low = whole ? hex(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        if (c == '\0')
            return -1;
        out[n++] = c;
    }
    out[n] = '\0';
    return utf8_valid(out, n) ? (long)n : -1;
}

/* Is `address` (of `length` bytes) one of the comma-separated `list`? */
static bool listed(const char *list, const char *address, size_t length)
{
    while (list && *list != '\0') {
        size_t n;

        list += strspn(list, ", \t");
        n = strcspn(list, ", \t");
        if (n == length && n > 0 && strncmp(list, address, n) == 0)
            return true;
        list += n;
    }
    return false;
}

static bool is_address(const char *text)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

void request_network(const char *address, char out[REQUEST_NETWORK_SIZE])
{
    static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN];

    snprintf(out, REQUEST_NETWORK_SIZE, "%s", address);
    if (inet_pton(AF_INET6, address, bytes) != 1)
        return;
    if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        inet_ntop(AF_INET, bytes + sizeof(mapped), out, REQUEST_NETWORK_SIZE);
        return;
    }
    memset(bytes + 8, 0, 8);
    if (inet_ntop(AF_INET6, bytes, text, sizeof(text)))
        snprintf(out, REQUEST_NETWORK_SIZE, "%s/64", text);
}

/* The client by X-Forwarded-For: from the right, the first that is no trusted proxy. */
static const char *client_address(struct request *r, const char *peer, const char *forwarded, const char *trusted)
{
    size_t end = !forwarded ? 0 : strlen(forwarded);
    const char *address = peer;

    while (end > 0 && listed(trusted, address, strlen(address))) {
        size_t start;
        char *one;

        while (end > 0 && strchr(", \t", forwarded[end - 1]))
            end--;
        for (start = end; start > 0 && !strchr(", \t", forwarded[start - 1]);)
            start--;
        one = talloc_strndup(r->pool, forwarded + start, end - start);
        if (!one || !is_address(one))
            break;
        address = one;
        end = start;
    }
    return address;
}

static void read_connection(struct request *r, const char *trusted)
{
    const char *peer = parameter(r->environment, "REMOTE_ADDR");
    const char *https = parameter(r->environment, "HTTPS");
    const char *scheme = parameter(r->environment, "REQUEST_SCHEME");
    const char *proto = parameter(r->environment, "HTTP_X_FORWARDED_PROTO");

    if (!peer)
        peer = "";
    r->https = (https && (strcasecmp(https, "on") == 0 || strcmp(https, "1") == 0)) ||
               (scheme && strcmp(scheme, "https") == 0);
    if (proto && listed(trusted, peer, strlen(peer)))
        r->https = strcasecmp(proto, "https") == 0;
    r->address = client_address(r, peer, parameter(r->environment, "HTTP_X_FORWARDED_FOR"), trusted);
}

static enum request_method method_of(const char *name, bool *head)
{
    static const struct {
        const char *name;
        enum request_method method;
    } known[] = {{"GET", METHOD_GET},
                 {"HEAD", METHOD_GET},
                 {"POST", METHOD_POST},
                 {"PUT", METHOD_PUT},
                 {"DELETE", METHOD_DELETE}};

    *head = strcmp(name, "HEAD") == 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].method;
    return METHOD_OTHER;
}

/* "Application/JSON; charset=utf-8" → "application/json" */
static const char *media_type_of(struct request *r, const char *header)
{
    size_t length = !header ? 0 : strcspn(header, "; \t,");
    char *type = talloc_strndup(r->pool, !header ? "" : header, length);

    if (!type)
        return "";
    for (char *c = type; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return type;
}

/* Parses "a=1&b=2" into pairs of the pool; false, and none, when it is too many or badly encoded. */
static bool parse_pairs(struct request *r, const char *text, size_t length, const struct request_pair **out, size_t *n)
{
    struct request_pair *pairs = talloc_zero_array(r->pool, struct request_pair, REQUEST_PAIRS);
    char *to = talloc_array(r->pool, char, 2 * length + 2);
    const char *end = text + length;
    size_t found = 0;

    if (!pairs || !to)
        return false;
    while (text < end) {
        const char *amp = memchr(text, '&', (size_t)(end - text));
        const char *stop = !amp ? end : amp;
        const char *equals = memchr(text, '=', (size_t)(stop - text));
        const char *name_end = !equals ? stop : equals;
        const char *value = !equals ? stop : equals + 1;
        long used;

        if (stop > text) {
            if (found == REQUEST_PAIRS)
                return false;
            used = request_percent_decode(text, (size_t)(name_end - text), true, to);
            if (used < 0)
                return false;
            pairs[found].name = to;
            to += used + 1;
            used = request_percent_decode(value, (size_t)(stop - value), true, to);
            if (used < 0)
                return false;
            pairs[found++].value = to;
            to += used + 1;
        }
        text = stop + 1;
    }
    *out = pairs;
    *n = found;
    return true;
}

static enum status read_target(struct request *r, struct request_refusal *why)
{
    const char *uri = parameter(r->environment, "REQUEST_URI");
    char path[ENDPOINT_PATH_SIZE];
    size_t length;
    const char *query;
    enum status s;

    if (!uri)
        return request_refuse(why, 400, "path_invalid", "The server sent no REQUEST_URI", NULL);
    s = endpoint_resolve(uri, path, &length);
    if (s == STATUS_LIMIT)
        return request_refuse(why, 414, "path_too_long", "The path is too long", "At most 2,047 bytes are read.");
    if (s != STATUS_OK || !utf8_valid(path, length))
        return request_refuse(why, 400, "path_invalid", "The path is ambiguous or badly encoded",
                              "Send it percent-encoded once, as UTF-8, without encoded slashes.");
    r->path = talloc_strndup(r->pool, path, length);
    if (!r->path)
        return STATUS_NO_MEMORY;
    query = strchr(uri, '?');
    if (!query)
        return STATUS_OK;
    length = strcspn(++query, "#");
    if (length > REQUEST_QUERY_BYTES)
        return request_refuse(why, 414, "query_too_long", "The query is too long", "At most 8,192 bytes are read.");
    if (!parse_pairs(r, query, length, &r->query, &r->n_query))
        return request_refuse(why, 400, "query_invalid", "The query is badly encoded",
                              "Send at most 64 name=value pairs, percent-encoded UTF-8.");
    return STATUS_OK;
}

static enum status read_length(struct request *r, struct request_refusal *why)
{
    const char *header = parameter(r->environment, "CONTENT_LENGTH");
    char *end;

    if (!header || *header == '\0')
        return STATUS_OK;
    errno = 0;
    r->declared = strtoull(header, &end, 10);
    if (*end != '\0' || !isdigit((unsigned char)*header) || errno != 0)
        return request_refuse(why, 400, "length_invalid", "Content-Length is not a number", NULL);
    return STATUS_OK;
}

static size_t headers_length(char *const environment[])
{
    size_t sum = 0;

    for (; *environment; environment++)
        if (strncmp(*environment, "HTTP_", 5) == 0)
            sum += strlen(*environment);
    return sum;
}

static void make_id(struct request *r)
{
    unsigned char bytes[ID_BYTES];
    char text[2 * ID_BYTES + 1];

    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2hex(text, sizeof(text), bytes, sizeof(bytes));
    r->id = talloc_strdup(r->pool, text);
    if (!r->id)
        r->id = "";
}

enum status request_open(struct request *r, char *const environment[], const char *trusted_proxies,
                         struct request_refusal *why)
{
    enum status s;

    *r = (struct request){.environment = environment,
                          .path = "",
                          .body = "",
                          .method_name = "",
                          .media_type = "",
                          .address = "",
                          .id = "",
                          .method = METHOD_OTHER,
                          .pool = talloc_new(NULL)};
    *why = (struct request_refusal){500, "internal", "The request could not be read", NULL};
    if (!r->pool)
        return STATUS_NO_MEMORY;
    make_id(r);
    r->accept = parameter(environment, "HTTP_ACCEPT");
    r->tenant_header = parameter(environment, "HTTP_X_TENANT_ID");
    r->cookie = parameter(environment, "HTTP_COOKIE");
    r->media_type = media_type_of(r, parameter(environment, "CONTENT_TYPE"));
    if (parameter(environment, "REQUEST_METHOD"))
        r->method_name = parameter(environment, "REQUEST_METHOD");
    r->method = method_of(r->method_name, &r->head);
    read_connection(r, trusted_proxies);
    if (headers_length(environment) > REQUEST_HEADER_BYTES)
        return request_refuse(why, 431, "headers_too_large", "The headers are too large",
                              "At most 32,768 bytes are read.");
    s = read_target(r, why);
    return s == STATUS_OK ? read_length(r, why) : s;
}

enum status request_take_body(struct request *r, const char *body, size_t length, struct request_refusal *why)
{
    r->body = body;
    r->body_length = length;
    if (length < r->declared)
        return request_refuse(why, 400, "body_short", "The body ended too early",
                              "Send as many bytes as Content-Length says.");
    if (strcmp(r->media_type, "application/x-www-form-urlencoded") == 0 &&
        !parse_pairs(r, r->body, r->body_length, &r->form, &r->n_form))
        return request_refuse(why, 400, "form_invalid", "The form is badly encoded",
                              "Send at most 64 name=value pairs, percent-encoded UTF-8.");
    return STATUS_OK;
}

void request_term(struct request *r)
{
    talloc_free(r->pool);
    r->pool = NULL;
}

static const char *first(const struct request_pair *pairs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(pairs[i].name, name) == 0)
            return pairs[i].value;
    return NULL;
}

const char *request_query(const struct request *r, const char *name)
{
    return first(r->query, r->n_query, name);
}

const char *request_form(const struct request *r, const char *name)
{
    return first(r->form, r->n_form, name);
}

const char *request_variable(const struct request *r, const char *name, size_t *times)
{
    const char *first_one = parameter(r->environment, name);
    size_t length = strlen(name);

    *times = 0;
    for (char *const *at = r->environment; first_one && *at; at++)
        *times += strncmp(*at, name, length) == 0 && (*at)[length] == '=';
    return first_one;
}

const char *request_header(const struct request *r, const char *name)
{
    char parameter_name[64] = "HTTP_";
    size_t n = 5;

    for (; *name != '\0'; name++) {
        if (n + 1 >= sizeof(parameter_name))
            return NULL;
        parameter_name[n++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    }
    return parameter(r->environment, parameter_name);
}

const char *request_cookie(const struct request *r, const char *name)
{
    size_t length = strlen(name);
    const char *at = r->cookie;

    while (at && *at != '\0') {
        at += strspn(at, "; \t");
        if (strncmp(at, name, length) == 0 && at[length] == '=')
            return talloc_strndup(r->pool, at + length + 1, strcspn(at + length + 1, "; \t"));
        at += strcspn(at, ";");
    }
    return NULL;
}

bool request_wants_html(const struct request *r)
{
    const char *html = !r->accept ? NULL : strstr(r->accept, "text/html");
    const char *json = !r->accept ? NULL : strstr(r->accept, "application/json");

    return html && (!json || html < json);
}
