/* text: decodes text that came from outside. Pure; owns nothing. Called by lib/web and tollgate-web. */
#ifndef WEB_TEXT_H
#define WEB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Percent-decodes once into `out` (`length` + 1 bytes are enough), "+" as a space when `form`; NUL-terminates and returns
 * the length. -1: a broken percent sign, a NUL, or not UTF-8.
 */
long text_percent_decode(const char *text, size_t length, bool form, char *out);

#endif
