/* ini.c: one line after another, nothing cut, nothing guessed */
#include "lib/base/ini.h"

#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts the blanks at the end of `from` and returns its first character that is none. */
static char *trim(char *from)
{
    char *end = from + strlen(from);

    while (end > from && is_blank(end[-1]))
        *--end = 0;
    while (is_blank(*from))
        from++;
    return from;
}

/* What is wrong with the bytes of a line, NULL when nothing is. */
static const char *wrong_bytes(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line[i];

        if (c == 0)
            return "there is a NUL byte in this line; save the file as plain UTF-8 text";
        if (c == '\r')
            return "there is a carriage return within this line; save the file with Unix line ends";
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return "there is a control character in this line; remove it";
    }
    return NULL;
}

static void parse_section(char *line, int number, const struct ini_handler *h, bool *within)
{
    size_t n = strlen(line);

    *within = true; /* what follows a wrong header is not reported for that */
    if (line[n - 1] != ']' || strcspn(line + 1, "[]") != n - 2) {
        h->problem(h->arg, number, "this is not a section; write [name] and nothing else in the line");
        return;
    }
    line[n - 1] = 0;
    h->section(h->arg, number, trim(line + 1));
}

/* `line` has no line end; *within: a section has begun. */
static void parse_line(char *line, int number, const struct ini_handler *h, bool *within)
{
    bool indented = is_blank(*line);
    char *equals;

    line = trim(line);
    if (!*line || *line == '#' || *line == ';')
        return;
    if (indented) {
        h->problem(h->arg, number,
                   "this line begins with a blank; a value can't go on in the next line: write it in one line, or "
                   "remove the blank");
        return;
    }
    if (*line == '[') {
        parse_section(line, number, h, within);
        return;
    }
    equals = strchr(line, '=');
    if (!equals || equals == line) {
        h->problem(h->arg, number,
                   "this is not a line of the configuration; write [section], key = value or # comment");
        return;
    }
    if (!*within) {
        h->problem(h->arg, number, "this line is before the first [section]; write the key's section above it");
        return;
    }
    *equals = 0;
    h->pair(h->arg, number, trim(line), trim(equals + 1));
}

void ini_parse(char *text, size_t length, const struct ini_handler *h)
{
    char *end = text + length;
    bool within = false;

    if (length >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0)) {
        h->problem(h->arg, 1, "the file is UTF-16; save it as UTF-8");
        return;
    }
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    for (int number = 1; text < end; number++) {
        char *newline = memchr(text, '\n', (size_t)(end - text)), *next = newline ? newline + 1 : end;
        size_t n = (size_t)((newline ? newline : end) - text);
        const char *wrong;

        if (n > 0 && text[n - 1] == '\r')
            n--;
        text[n] = 0;
        wrong = wrong_bytes(text, n);
        if (wrong)
            h->problem(h->arg, number, wrong);
        else
            parse_line(text, number, h, &within);
        text = next;
    }
}
