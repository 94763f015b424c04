/*
 * request.c: any parameters of a server and any body as a request: what is taken is decoded, bounded and the same when it is sent
 * again; what is refused says why. Then an answer that repeats what was sent: no part of it becomes a header of its own.
 *
 * A line each: NAME=value, up to an empty one; the rest is the body.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <talloc.h>

#include "lib/base/buffer.h"
#include "lib/base/utf8.h"
#include "lib/meter/endpoint.h"
#include "lib/web/request.h"
#include "lib/web/response.h"
#include "tests/fuzz/environment.h"

static const char trusted[] = "192.0.2.1, 2001:db8::1,192.0.2.2";

static void must_be_refused(const struct request *r, const struct request_refusal *why)
{
    must(why->status >= 400 && why->status < 500 && why->code && why->message);
    must(r->pool && r->id && r->media_type && r->method_name);
}

static void must_be_pairs(const struct request_pair *pairs, size_t n)
{
    must(n <= REQUEST_PAIRS);
    for (size_t i = 0; i < n; i++) {
        must(utf8_valid(pairs[i].name, strlen(pairs[i].name)));
        must(utf8_valid(pairs[i].value, strlen(pairs[i].value)));
    }
}

/* The pairs as a form, each byte encoded. */
static char *encode(void *pool, const struct request_pair *pairs, size_t n)
{
    char *form = talloc_strdup(pool, "");
    for (size_t i = 0; i < n; i++) {
        for (const char *p = pairs[i].name; *p; p++)
            form = talloc_asprintf_append_buffer(form, "%%%02X", (unsigned char)*p);
        form = talloc_strdup_append_buffer(form, "=");
        for (const char *p = pairs[i].value; *p; p++)
            form = talloc_asprintf_append_buffer(form, "%%%02x", (unsigned char)*p);
        form = talloc_strdup_append_buffer(form, "&");
    }
    return form;
}

static void must_come_back_as_form(const struct request_pair *pairs, size_t n)
{
    static char type[] = "CONTENT_TYPE=Application/X-WWW-form-urlencoded ; charset=utf-8", uri[] = "REQUEST_URI=/";
    char *environment[] = {uri, type, NULL};
    struct request r;
    struct request_refusal why;
    must(request_open(&r, environment, trusted, &why) == STATUS_OK);
    char *form = encode(r.pool, pairs, n);
    must(request_take_body(&r, form, strlen(form), &why) == STATUS_OK && r.n_form == n);
    for (size_t i = 0; i < n; i++)
        must(strcmp(r.form[i].name, pairs[i].name) == 0 && strcmp(r.form[i].value, pairs[i].value) == 0);
    request_term(&r);
}

static void must_be_sound(const struct request *r)
{
    unsigned char bytes[16];
    must(r->path[0] == '/' && strlen(r->path) < ENDPOINT_PATH_SIZE && utf8_valid(r->path, strlen(r->path)));
    must(!r->head || r->method == METHOD_GET);
    must(strlen(r->id) == 24);
    for (const char *p = r->media_type; *p; p++)
        must(!isupper((unsigned char)*p) && !strchr("; \t,", *p));
    must_be_pairs(r->query, r->n_query);
    must_come_back_as_form(r->query, r->n_query);
    /* whoever is not a trusted proxy can't say who he is; a proxy can, but only an address */
    size_t times;
    const char *peer = request_variable(r, "REMOTE_ADDR", &times);
    peer = peer ? peer : "";
    must(strcmp(r->address, peer) == 0 || inet_pton(AF_INET, r->address, bytes) == 1 ||
         inet_pton(AF_INET6, r->address, bytes) == 1);
    must(strcmp(r->address, peer) == 0 || (*peer && strstr(trusted, peer)));
}

/* How often a line end is in the text. */
static size_t lines(const char *text)
{
    size_t n = 0;
    for (; (text = strstr(text, "\r\n")); text += 2)
        n++;
    return n;
}

static void answer(const struct request *r)
{
    struct response answer;
    struct buffer out;
    const char *cookie = request_cookie(r, "tollgate");
    response_init(&answer);
    buffer_init(&out, 0);
    response_error(&answer, 404, "not_found", utf8_valid(r->method_name, strlen(r->method_name)) ? r->method_name : "",
                   r->path);
    response_header(&answer, "X-Cookie", cookie ? cookie : "");
    response_header(&answer, "X-Method", r->method_name);
    if (r->n_query)
        response_redirect(&answer, r->query[0].value);
    response_write(&answer, r, &out);
    must(!out.failed && !answer.headers.failed);
    char *end = strstr(out.data, "\r\n\r\n");
    must(end != NULL && (size_t)(end + 4 - out.data) + (r->head ? 0 : answer.body.length) == out.length);
    end[2] = '\0';
    /* Status, Content-Type, five standing ones, the request's id, the length, and at most three of ours */
    must(lines(out.data) >= 8 && lines(out.data) <= 12);
    for (const char *p = out.data; *p; p++)
        must(((unsigned char)*p >= 0x20 && *p != 0x7f) || (p[0] == '\r' && p[1] == '\n') ||
             (p[0] == '\n' && p[-1] == '\r'));
    const char *location = strstr(out.data, "\r\nLocation: ");
    must(!location || (location[12] == '/' && location[13] != '/' && location[13] != '\\'));
    response_term(&answer);
    buffer_term(&out);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct input in = {data, size};
    char *environment[ENVIRONMENT_LINES + 1];
    struct request r;
    struct request_refusal why;
    environment_read(&in, environment);
    size_t length;
    char *body = input_rest(&in, &length);
    enum status s = request_open(&r, environment, trusted, &why);
    must(s == STATUS_OK || s == STATUS_INVALID);
    if (s == STATUS_OK) {
        must_be_sound(&r);
        answer(&r);
        s = request_take_body(&r, body, length, &why);
        must(s == STATUS_OK || s == STATUS_INVALID);
        must_be_pairs(r.form, r.n_form);
    }
    if (s != STATUS_OK)
        must_be_refused(&r, &why);
    request_term(&r);
    free(body);
    environment_free(environment);
    return 0;
}
