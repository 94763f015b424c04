/* json_write.c: a JSON document into the caller's memory */
#include "lib/base/json_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/utf8.h"

static void put(struct json_write *w, const char *bytes, size_t n)
{
    if (w->failed || n >= w->size - w->length) {
        w->failed = true;
        return;
    }
    memcpy(w->out + w->length, bytes, n);
    w->length += n;
}

/* What stands for a byte or a sequence that can't stand in a string as it is; *taken: bytes of `text` it stands for. */
static size_t escape(const char *text, size_t left, char out[8], size_t *taken)
{
    unsigned char c = (unsigned char)*text;
    const char *letter = c == '\0' ? NULL : strchr("\bb\ff\nn\rr\tt", c);

    *taken = 1;
    if (c == '"' || c == '\\' || (letter && c < 0x20)) {
        out[0] = '\\';
        out[1] = c < 0x20 ? letter[1] : *text;
        return 2;
    }
    if (c < 0x20)
        return (size_t)snprintf(out, 8, "\\u%04x", c);
    if (!(*taken = utf8_sequence(text, left))) {
        *taken = 1;
        memcpy(out, "\\ufffd", 6);
        return 6;
    }
    memcpy(out, text, *taken);
    return *taken;
}

/* Bytes that stand in a string as they are: no quote, backslash or control character, and of ASCII. Most text is nothing else. */
static size_t plain(const char *text)
{
    const char *end = text;

    while ((signed char)*end >= 0x20 && *end != '"' && *end != '\\')
        end++;
    return (size_t)(end - text);
}

static void put_string(struct json_write *w, const char *text)
{
    char escaped[8];

    put(w, "\"", 1);
    while (*text) {
        size_t n = plain(text), taken = 0;

        put(w, text, n);
        text += n;
        if (*text)
            put(w, escaped, escape(text, strnlen(text, sizeof(escaped)), escaped, &taken));
        text += taken;
    }
    put(w, "\"", 1);
}

/* The comma, and the name. */
static void lead(struct json_write *w, const char *name)
{
    if (!w->first)
        put(w, ",", 1);
    w->first = false;
    if (name) {
        put_string(w, name);
        put(w, ":", 1);
    }
}

static void open_level(struct json_write *w, char opening, char closing)
{
    if (w->depth == JSON_WRITE_DEPTH) {
        w->failed = true;
        return;
    }
    put(w, &opening, 1);
    w->closing[w->depth++] = closing;
    w->first = true;
}

void json_write_begin(struct json_write *w, char *out, size_t size)
{
    *w = (struct json_write){.out = out, .size = size};
    open_level(w, '{', '}');
}

void json_write_array(struct json_write *w, const char *name)
{
    lead(w, name);
    open_level(w, '[', ']');
}

void json_write_close(struct json_write *w)
{
    if (w->depth > 0)
        put(w, &w->closing[--w->depth], 1);
    w->first = false;
}

void json_write_text(struct json_write *w, const char *name, const char *value)
{
    lead(w, name);
    put_string(w, value);
}

static void number(struct json_write *w, const char *name, bool minus, uint64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    if (minus)
        digits[--at] = '-';
    lead(w, name);
    put(w, digits + at, sizeof(digits) - at);
}

void json_write_integer(struct json_write *w, const char *name, int64_t value)
{
    number(w, name, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_write_count(struct json_write *w, const char *name, uint64_t value)
{
    number(w, name, false, value);
}

void json_write_boolean(struct json_write *w, const char *name, bool value)
{
    lead(w, name);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

size_t json_write_end(struct json_write *w)
{
    while (w->depth > 0)
        json_write_close(w);
    if (w->size > 0)
        w->out[w->failed ? 0 : w->length] = '\0';
    return w->failed ? 0 : w->length;
}

#define DIGITS_MOST 18         /* that every 64-bit integer has */
#define DIGITS_OF_A_DOUBLE 308 /* before the point */
#define DIGITS_KEPT 17
#define NUMBER_SIZE 32 /* of one that was fitted; less than twice the digits that stood there */

/* Writes a number of `n` digits before the point; the end of what was written. */
static char *fit_number(char out[NUMBER_SIZE], const char *digits, size_t n)
{
    int length = n > DIGITS_OF_A_DOUBLE
                     ? snprintf(out, NUMBER_SIZE, "1e%d", DIGITS_OF_A_DOUBLE)
                     : snprintf(out, NUMBER_SIZE, "%c.%.*se%zu", digits[0], DIGITS_KEPT - 1, digits + 1, n - 1);

    return out + length;
}

char *json_fit_numbers(const char *text)
{
    char *start = malloc(2 * strlen(text) + NUMBER_SIZE), *out = start;
    bool quoted = false;

    while (start && *text) {
        size_t n = quoted ? 0 : strspn(text, "0123456789");

        if (n > DIGITS_MOST) {
            out = fit_number(out, text, n);
            text += n + strspn(text + n, ".0123456789");
            continue;
        }
        n = n ? n + strspn(text + n, ".0123456789") : 1; /* the digits behind a point are no number of their own */
        if (quoted && *text == '\\' && text[1])
            n = 2;
        else if (*text == '"')
            quoted = !quoted;
        memcpy(out, text, n);
        out += n;
        text += n;
    }
    if (start)
        *out = '\0';
    return start;
}
