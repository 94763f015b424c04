/*
 * adopt_map: adopting with a mapping, for cmd_adopt.c.
 *
 * The file is an INI file: [tenants] with table, id, name, plan, state and suspended (values of state, with commas between), and
 * [schemas] with column or pattern. Everything happens in one transaction of the connecting role's.
 */
#ifndef CLI_ADOPT_MAP_H
#define CLI_ADOPT_MAP_H

#include <stdbool.h>

struct cli;

/* Adopts with the mapping in `path`; with `dry` it does the same and undoes it. An exit status. */
int adopt_with_map(struct cli *c, const char *path, bool dry);

#endif
