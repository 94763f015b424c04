/*
 * password_common: may this be somebody's password? It needs a length, and must not be what everybody tries first.
 *
 * Refused: a well-known word or name, one with digits or signs around it or letters written as digits (P4ssw0rd2024!), two of
 * them in a row, keyboard rows, alphabets and repetitions, the account's own address, and this program's name. Pure; the words
 * are in password_common.txt, which is compiled in. Called by tollgate-web and tollgate wherever a password is set.
 */
#ifndef BASE_PASSWORD_COMMON_H
#define BASE_PASSWORD_COMMON_H

#define PASSWORD_LEAST 12 /* bytes */
#define PASSWORD_MOST 1024

/* NULL: it may. Else one sentence that says what is wrong with it; static. `email` is whose it will be. */
const char *password_problem(const char *password, const char *email);

#endif
