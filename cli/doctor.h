/*
 * doctor: what the parts of `tollgate doctor` share: one line for each thing that was looked at, OK or WRONG.
 *
 * cmd_doctor.c makes the struct and looks at the node and the database; doctor_front.c looks at the web server.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "cli/table.h"

struct doctor {
    struct cli *cli;
    const struct config *config;
    struct table table;
    size_t wrong;
    bool json;
};

/* One line; what is not `ok` says what to do. */
void doctor_line(struct doctor *d, bool ok, const char *part, const char *format, ...) PRINTF_LIKE(4, 5);
/* Does the web server at `url` answer, does it let calls pass the gate by, and is its configuration what tollgate.conf says? */
void doctor_front(struct doctor *d, const char *url);

#endif
