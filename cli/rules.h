/*
 * rules: are the configured rules fit for the catalogue? For `tollgate config --check` and `tollgate doctor`.
 *
 * The catalogue is this node's limit table's. Where there is none yet, Tollgate's own metrics are known all the same. The
 * gate leaves out a rule whose metric Tollgate counts itself, and refuses calls of one whose metric does not exist.
 */
#ifndef CLI_RULES_H
#define CLI_RULES_H

#include <stddef.h>

#include "lib/base/config.h"

/* Reports each wrong rule of `path` as "tollgate.conf:12: …"; how many there are. */
size_t rules_check(const struct config *c, const char *path, config_report *report, void *arg);

#endif
