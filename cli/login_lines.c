/* login_lines.c: lines of pg_hba.conf and pg_ident.conf */
#include "cli/login_lines.h"

#include <stdio.h>
#include <string.h>

#define COMMENT "# Tollgate: its programs, over the Unix socket (tollgate setup)\n"

bool login_lines_plain(const char *name)
{
    static const char *const words[] = {"all", "replication", "sameuser", "samerole", "samegroup"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(name, words[i]) == 0)
            return false;
    return *name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(name);
}

/* The next word of a line, and its length; 0 at the end of the line. */
static size_t word(const char **at)
{
    *at += strspn(*at, " \t\r");
    return **at == '#' ? 0 : strcspn(*at, " \t\r\n#");
}

static bool same_words(const char *a, const char *b)
{
    for (;;) {
        size_t n = word(&a), m = word(&b);

        if (n != m || memcmp(a, b, n) != 0)
            return false;
        if (n == 0)
            return true;
        a += n;
        b += m;
    }
}

static const char *next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

bool login_lines_has(const char *text, const char *line)
{
    for (; *text; text = next_line(text))
        if (same_words(text, line))
            return true;
    return false;
}

/* `text` with `added` at `at`. */
static char *insert(const char *text, const char *at, const char *before, const char *added, const char *behind)
{
    char *out = NULL;
    size_t size;
    FILE *to = open_memstream(&out, &size);

    if (!to)
        return NULL;
    fprintf(to, "%.*s%s%s%s\n%s%s", (int)(at - text), text, before, COMMENT, added, behind, at);
    return fclose(to) == 0 ? out : NULL;
}

char *login_lines_first(const char *text, const char *line)
{
    const char *block = NULL; /* the comment that stands over what follows */

    for (const char *at = text; *at; at = next_line(at)) {
        const char *first = at;

        if (*at == '#') {
            block = block ? block : at;
            continue;
        }
        if (word(&first) > 0)
            return insert(text, block ? block : at, "", line, "\n");
        block = NULL;
    }
    return login_lines_last(text, line);
}

char *login_lines_last(const char *text, const char *line)
{
    size_t n = strlen(text);

    return insert(text, text + n, n > 0 && text[n - 1] != '\n' ? "\n" : "", line, "");
}
