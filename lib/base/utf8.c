/* utf8.c: well-formed UTF-8 */
#include "lib/base/utf8.h"

#include <stdint.h>

size_t utf8_sequence(const char *bytes, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)bytes;
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

bool utf8_valid(const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t n = (unsigned char)bytes[at] < 0x80 ? 1 : utf8_sequence(bytes + at, length - at);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}
