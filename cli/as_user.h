/*
 * as_user: a part of a command as another user of the system, when root runs it.
 *
 * PostgreSQL's peer authentication asks who connects, and a file of another user's is written with that user's rights
 * alone. The effective user changes; nothing is kept. Not for programs with threads.
 */
#ifndef CLI_AS_USER_H
#define CLI_AS_USER_H

#include <stdbool.h>
#include <sys/types.h>

/* From here to as_user_end as `name`. NULL, no such user, or not root: nothing changes. */
void as_user_begin(const char *name);
void as_user_begin_id(uid_t id);
void as_user_end(void);
/* Is there such a user? */
bool as_user_exists(const char *name);
/* The name of the user who runs this; "root" also with sudo. Static. */
const char *as_user_self(void);

#endif
