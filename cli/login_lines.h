/*
 * login_lines: the lines of pg_hba.conf and pg_ident.conf by which Tollgate's programs log in over the Unix socket.
 *
 * The first line of pg_hba.conf that fits a connection decides, so Tollgate's stands before all others; it fits
 * Tollgate's database and roles alone. Texts are whole files; what is made belongs to the caller.
 */
#ifndef CLI_LOGIN_LINES_H
#define CLI_LOGIN_LINES_H

#include <stdbool.h>

#define LOGIN_MAP "tollgate"

/* Can `name` stand in these files as it is, without quotes? */
bool login_lines_plain(const char *name);
/* Is there a line with the same words? */
bool login_lines_has(const char *text, const char *line);
/* The text with the line before the first rule, and the comment that stands over that one. NULL: out of memory. */
char *login_lines_first(const char *text, const char *line);
/* The text with the line at its end. NULL: out of memory. */
char *login_lines_last(const char *text, const char *line);

#endif
