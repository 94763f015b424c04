/* as_user.c: a part of a command as another user of the system */
#include "cli/as_user.h"

#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

static gid_t own_groups[256];
static int n_own_groups;
static bool changed;

/* On with half of the rights of each would be worse than an end. */
static void insist(bool done)
{
    if (!done) {
        cli_say("the user can't be changed");
        exit(CLI_FAILED);
    }
}

void as_user_begin(const struct passwd *user)
{
    if (getuid() != 0 || !user || user->pw_uid == 0)
        return;
    n_own_groups = getgroups(256, own_groups);
    insist(n_own_groups >= 0 && initgroups(user->pw_name, user->pw_gid) == 0 && setegid(user->pw_gid) == 0 &&
           seteuid(user->pw_uid) == 0);
    changed = true;
}

void as_user_end(void)
{
    if (!changed)
        return;
    insist(seteuid(0) == 0 && setegid(getgid()) == 0 && setgroups((size_t)n_own_groups, own_groups) == 0);
    changed = false;
}

const char *as_user_self(void)
{
    static char name[256];
    const struct passwd *user = getpwuid(getuid());

    snprintf(name, sizeof(name), "%s", user ? user->pw_name : "root");
    return name;
}
