/*
 * arguments: a daemon's command line: --config FILE, --help, --version, and flags of its own. Owns nothing. Called by the
 * mains of gate, web and collector; `tollgate` has commands and reads its own (cli/cli.h).
 */
#ifndef BASE_ARGUMENTS_H
#define BASE_ARGUMENTS_H

#include <stdbool.h>

struct arguments_flag {
    const char *name; /* without its dashes */
    bool *set;
};

/*
 * Reads the command line. `flags` ends with {0}, at most 8 of them. -1: go on, *config is the file that was given
 * or untouched; otherwise the exit status, and what there was to say is printed: `usage`, or the version after `program`.
 */
int arguments_read(int argc, char *argv[], const char *program, const char *usage, const struct arguments_flag flags[],
                   const char **config);

#endif
