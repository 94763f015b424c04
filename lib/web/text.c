/* text.c: UTF-8 and percent signs */
#include "lib/web/text.h"

#include <stdint.h>

/* Bytes of the well-formed sequence at `s`, or 0. */
static size_t sequence(const unsigned char *s, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    uint32_t code = n == 1 ? s[0] : s[0] & (0x7Fu >> n);

    if (n > left || (s[0] >= 0x80 && s[0] < 0xC2) || s[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3F);
    }
    return code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) ? 0 : n;
}

bool text_is_utf8(const char *bytes, size_t length)
{
    const unsigned char *s = (const unsigned char *)bytes;

    for (size_t at = 0; at < length;) {
        size_t n = sequence(s + at, length - at);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long text_percent_decode(const char *text, size_t length, bool form, char *out)
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
    return text_is_utf8(out, n) ? (long)n : -1;
}
