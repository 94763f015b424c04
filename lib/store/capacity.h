/*
 * capacity: whether the limit table has room for what is about to be created. What it has no room for is left out there, so it is
 * refused here, where somebody reads why. Called within the transaction that creates. STATUS_LIMIT: `full` says what is there
 * and what fits. What is written by other programs is not refused; the collector logs what it leaves out.
 */
#ifndef STORE_CAPACITY_H
#define STORE_CAPACITY_H

#include <stdint.h>

#include "lib/store/db.h"

#define CAPACITY_TEXT 256

/* Room for so many more metrics and limits? STATUS_LIMIT: `full` says what is there and what fits. Holds off others that create. */
MUST_CHECK enum status capacity_check(struct db *d, int64_t metrics, int64_t limits, char full[CAPACITY_TEXT]);
/* Room for one more tenant, whatever limits its plan has? For credits of another one? For one more key? */
MUST_CHECK enum status capacity_tenant(struct db *d, char full[CAPACITY_TEXT]);
MUST_CHECK enum status capacity_credit(struct db *d, char full[CAPACITY_TEXT]);
MUST_CHECK enum status capacity_key(struct db *d, char full[CAPACITY_TEXT]);

#endif
