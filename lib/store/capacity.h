/*
 * capacity: whether the limit table has room for what is about to be created. What it has no room for is left out there, so it is
 * refused here, where somebody reads why. The command line calls it within the transaction that creates.
 */
#ifndef STORE_CAPACITY_H
#define STORE_CAPACITY_H

#include <stdint.h>

#include "lib/store/db.h"

#define CAPACITY_TEXT 256

/* Room for so many more metrics and limits? STATUS_LIMIT: `full` says what is there and what fits. Holds off others that create. */
MUST_CHECK enum status capacity_check(struct db *d, int64_t metrics, int64_t limits, char full[CAPACITY_TEXT]);

#endif
