/* reserve: space kept for the collector beside the spool (spool.reserve_bytes). `import` calls it. */
#ifndef COLLECTOR_RESERVE_H
#define COLLECTOR_RESERVE_H

#include "lib/base/config.h"

/* Made when there is room for it. */
void reserve_keep(const struct config *config);
/* The disk is full: what is kept is needed now. */
void reserve_give_back(const struct config *config);

#endif
