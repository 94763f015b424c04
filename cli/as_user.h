/*
 * as_user: a part of a command as another user of the system, when root runs it.
 *
 * PostgreSQL's peer authentication asks who connects, and a file of another user's is written with that user's rights
 * alone. The effective user changes; nothing is kept. Not for programs with threads.
 */
#ifndef CLI_AS_USER_H
#define CLI_AS_USER_H

#include <pwd.h>

/* From here to as_user_end as `user`, of getpwnam or getpwuid. NULL, or not root: nothing changes. */
void as_user_begin(const struct passwd *user);
void as_user_end(void);
/* The name of the user who runs this; "root" also with sudo. Static. */
const char *as_user_self(void);

#endif
