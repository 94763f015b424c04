/*
 * ini: the lines of an INI file, for config.c.
 *
 * Written here because Debian's INI libraries cut a long line without a word (libinih at 200 bytes, libiniparser at 1,024) or can't
 * say which line a value is from. The format: `[section]`, `key = value`, and comments, whose first character other than a blank is
 * `#` or `;`. A value is everything behind the first `=`, without the blanks around it, however long it is. A value can't go on in
 * the next line, so a line that begins with a blank is refused. A byte order mark and CR LF line ends are accepted; other control
 * characters are refused. Owns nothing.
 */
#ifndef BASE_INI_H
#define BASE_INI_H

#include <stddef.h>

/* What is found, in the order of the lines, which count from 1. The texts point into the parsed text. */
struct ini_handler {
    void (*section)(void *arg, int line, const char *name);
    void (*pair)(void *arg, int line, const char *key, const char *value); /* of the last section */
    void (*problem)(void *arg, int line,
                    const char *what); /* what is wrong with the line and what to do; the line is skipped */
    void *arg;
};

/* Parses `text` of `length` bytes in place; text[length] is 0. */
void ini_parse(char *text, size_t length, const struct ini_handler *handler);

#endif
