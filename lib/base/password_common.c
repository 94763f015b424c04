/* password_common.c: what everybody tries first, by words and by rules */
#include "lib/base/password_common.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define CORE_MAX \
    64 /* letters and digits that are looked at; a longer password is no common one, unless it repeats itself */
#define RUN_LEAST 3  /* of an alphabet, a keyboard's row or one character */
#define PARTS_MOST 3 /* words and runs that together are still a common password */

/* The words, one a line; a line of comment begins with a sign and so is never the beginning of a password's letters. */
__asm__(".pushsection .rodata\n"
        ".globl password_common_words\n"
        ".hidden password_common_words\n"
        "password_common_words: .incbin \"lib/base/password_common.txt\"\n"
        ".byte 0\n"
        ".popsection");
extern const char password_common_words[] __attribute__((visibility("hidden")));

/* What fingers walk along; each in both directions. */
static const char *const walks[] = {"abcdefghijklmnopqrstuvwxyz",
                                    "01234567890",
                                    "qwertyuiop",
                                    "qwertzuiop",
                                    "azertyuiop",
                                    "asdfghjkl",
                                    "zxcvbnm",
                                    "yxcvbnm",
                                    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
                                    "q1w2e3r4t5y6u7i8o9p0",
                                    "1q2w3e4r5t6y7u8i9o0p",
                                    "qazwsxedcrfvtgbyhnujmikolp",
                                    "zaqxswcdevfrbgtnhymjukilop",
                                    "147258369",
                                    "159357"};

/* Does a password's character stand for a word's letter, as 4 and @ do for a? */
static bool stands_for(char c, char letter)
{
    static const char *const pairs[] = {"4a", "3e", "1i", "1l", "0o", "5s", "7t", "8b"};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (c == pairs[i][0] && letter == pairs[i][1])
            return true;
    return c == letter;
}

/* The length of `word`, which may end with its line, when `text` begins with it, else 0. */
static size_t begins_with(const char *text, const char *word)
{
    size_t n = 0;

    while (word[n] != '\0' && word[n] != '\n' && stands_for(text[n], word[n]))
        n++;
    return word[n] == '\0' || word[n] == '\n' ? n : 0;
}

/* Letters and digits in lower case, `signs`: also @ and $ as letters. False: longer than is looked at. */
static bool core_of(const char *text, size_t length, bool signs, char out[CORE_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < length; i++) {
        char c = (char)tolower((unsigned char)text[i]);

        if (signs && (c == '@' || c == '$'))
            c = c == '@' ? 'a' : 's';
        if ((unsigned char)c < 0x80 && !isalnum((unsigned char)c))
            continue;
        if (n == CORE_MAX)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* How many characters at the start walk along `row`, forwards or backwards. */
static size_t along(const char *at, const char *row)
{
    size_t best = 0;

    for (const char *start = strchr(row, *at); start && *at != '\0'; start = strchr(start + 1, *at)) {
        size_t there = 1, back = 1;

        while (at[there] != '\0' && at[there] == start[there])
            there++;
        while (at[back] != '\0' && start - row >= (ptrdiff_t)back && at[back] == start[-(ptrdiff_t)back])
            back++;
        best = there > best ? there : best;
        best = back > best ? back : best;
    }
    return best;
}

static size_t run_of(const char *at)
{
    size_t best = 1;

    while (at[best] != '\0' && at[best] == at[0])
        best++;
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        size_t n = along(at, walks[i]);

        best = n > best ? n : best;
    }
    return best >= RUN_LEAST ? best : 0;
}

/* Is `core` made of at most `parts` words, runs and numbers, one behind the other? `own` is a word more, or NULL. */
static bool is_made_of(const char *core, size_t parts, const char *own)
{
    size_t digits = strspn(core, "0123456789"), run, n;

    if (*core == '\0')
        return true;
    if (digits > 0 && is_made_of(core + digits, parts, own))
        return true; /* a number costs nothing */
    if (parts == 0)
        return false;
    for (run = run_of(core); run >= RUN_LEAST; run--)
        if (is_made_of(core + run, parts - 1, own))
            return true;
    n = !own ? 0 : begins_with(core, own);
    if (n > 0 && is_made_of(core + n, parts - 1, own))
        return true;
    for (const char *word = password_common_words; *word; word = strchr(word, '\n') + 1) {
        n = begins_with(core, word);
        if (n > 0 && is_made_of(core + n, parts - 1, own))
            return true;
    }
    return false;
}

/* The same few characters again and again: "abcabcabcabc", "passwordpassword". */
static bool repeats(const char *text)
{
    size_t length = strlen(text);

    for (size_t unit = 1; unit <= 10 && unit * 2 <= length; unit++)
        if (strncmp(text, text + unit, length - unit) == 0)
            return true;
    return false;
}

const char *password_problem(const char *password, const char *email)
{
    const char *at = strchr(email, '@');
    size_t length = strlen(password);
    char core[CORE_MAX + 1], own[CORE_MAX + 1] = "";

    if (length < PASSWORD_LEAST || length > PASSWORD_MOST)
        return "A password has 12 to 1024 bytes.";
    if (repeats(password))
        return "This password repeats the same few characters.";
    if (!core_of(email, !at ? strlen(email) : (size_t)(at - email), false, own) || strlen(own) < RUN_LEAST)
        own[0] = '\0';
    for (int signs = 0; signs < 2; signs++) {
        if (!core_of(password, length, signs, core))
            continue;
        if (own[0] != '\0' && is_made_of(core, PARTS_MOST, own) && !is_made_of(core, PARTS_MOST, NULL))
            return "This password is made of the account's own e-mail address.";
        if (is_made_of(core, PARTS_MOST, NULL))
            return "This password is one of those that are tried first.";
    }
    return NULL;
}
