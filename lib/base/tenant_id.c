/* tenant_id.c: which texts may be a tenant's id */
#include "lib/base/tenant_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* C0, DEL, and C1, which is C2 80 to C2 9F. */
static bool has_control(const unsigned char *id)
{
    for (; *id; id++)
        if (*id < 0x20 || *id == 0x7f || (*id == 0xc2 && id[1] >= 0x80 && id[1] <= 0x9f))
            return true;
    return false;
}

/* Unicode's White_Space that is no control character: U+0020, 00A0, 1680, 2000 to 200A, 2028, 2029, 202F, 205F, 3000. */
static bool has_outer_blank(const char *id)
{
    /* clang-format off */
    static const char *const blanks[] = {
        " ", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
        "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89",
        "\xe2\x80\x8a", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    /* clang-format on */
    size_t length = strlen(id);

    for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
        size_t n = strlen(blanks[i]);

        if (length >= n && (memcmp(id, blanks[i], n) == 0 || memcmp(id + length - n, blanks[i], n) == 0))
            return true;
    }
    return false;
}

const char *tenant_id_problem(const char *id)
{
    if (!*id)
        return "is empty";
    if (strlen(id) > TENANT_ID_MAX)
        return "is longer than 255 bytes";
    if (has_control((const unsigned char *)id))
        return "holds a control character";
    if (strchr(id, ','))
        return "holds a comma";
    return has_outer_blank(id) ? "begins or ends with white space" : NULL;
}
