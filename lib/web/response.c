/* response.c: an answer is put together and written as one piece */
#include "lib/web/response.h"

#include <json-c/json.h>
#include <string.h>
#include <strings.h>

#include "lib/web/json.h"

#define HEADERS_BYTES 16384

/* Sent unless the handler set a header of that name. No script anywhere; style and pictures from here alone. */
static const struct {
    const char *name, *value;
} standing[] = {
    {"Cache-Control", "private, no-store"},
    {"Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                                "frame-ancestors 'none'; base-uri 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {207, "Multi-Status"},
    {303, "See Other"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Answer";
}

void response_init(struct response *r)
{
    *r = (struct response){.status = 200, .media_type = "text/plain; charset=utf-8"};
    buffer_init(&r->headers, HEADERS_BYTES);
    buffer_init(&r->body, 0);
}

void response_term(struct response *r)
{
    buffer_term(&r->headers);
    buffer_term(&r->body);
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    return true;
}

void response_header(struct response *r, const char *name, const char *value)
{
    if (printable(name) && printable(value))
        buffer_format(&r->headers, "%s: %s\r\n", name, value);
}

void response_json(struct response *r, int status, struct json_object *document)
{
    size_t length;
    const char *text = json_object_to_json_string_length(document, JSON_WRITE_FLAGS, &length);

    r->status = status;
    r->media_type = "application/json";
    buffer_clear(&r->body);
    buffer_add(&r->body, !text ? "{}" : text, !text ? 2 : length);
    buffer_text(&r->body, "\n");
    json_object_put(document);
}

void response_error(struct response *r, int status, const char *code, const char *message, const char *detail)
{
    struct json_object *document = json_object_new_object();

    json_object_object_add(document, "error", json_object_new_string(message));
    json_object_object_add(document, "code", json_object_new_string(code));
    if (detail)
        json_object_object_add(document, "detail", json_object_new_string(detail));
    response_json(r, status, document);
}

void response_redirect(struct response *r, const char *path)
{
    r->status = 303;
    r->media_type = NULL;
    buffer_clear(&r->body);
    /* "//host" and "/\host" would leave the site */
    response_header(r, "Location", path[0] == '/' && path[1] != '/' && path[1] != '\\' ? path : "/");
}

static bool has_header(const struct buffer *headers, const char *name)
{
    size_t length = strlen(name);
    const char *line = headers->data;

    while (line && *line != '\0') {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return true;
        line = strchr(line, '\n');
        if (line)
            line++;
    }
    return false;
}

void response_write(const struct response *r, const struct request *request, struct buffer *out)
{
    bool bare = r->status == 204 || r->status == 304;

    buffer_format(out, "Status: %d %s\r\n", r->status, reason_of(r->status));
    if (r->media_type && !bare)
        buffer_format(out, "Content-Type: %s\r\n", r->media_type);
    for (size_t i = 0; i < sizeof(standing) / sizeof(standing[0]); i++)
        if (!has_header(&r->headers, standing[i].name))
            buffer_format(out, "%s: %s\r\n", standing[i].name, standing[i].value);
    buffer_format(out, "X-Request-Id: %s\r\n", request->id);
    buffer_add(out, !r->headers.data ? "" : r->headers.data, r->headers.length);
    if (!bare)
        buffer_format(out, "Content-Length: %zu\r\n", r->body.length);
    buffer_text(out, "\r\n");
    if (!request->head && !bare && r->body.length > 0)
        buffer_add(out, r->body.data, r->body.length);
}
