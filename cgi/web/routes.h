/* routes: every path that tollgate-web answers, one const table. */
#ifndef RESPONDER_ROUTES_H
#define RESPONDER_ROUTES_H

#include <stddef.h>

#include "lib/web/router.h"

extern const struct route routes[];
extern const size_t n_routes;

#endif
