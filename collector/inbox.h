/* inbox: names that one worker leaves for another; none stands in it twice. */
#ifndef COLLECTOR_INBOX_H
#define COLLECTOR_INBOX_H

#include <stdbool.h>

#include "lib/base/status.h"

#define INBOX_NAME_SIZE 256

struct inbox;

MUST_CHECK enum status inbox_create(struct inbox **out);
void inbox_destroy(struct inbox *b); /* NULL is allowed */
/* A name that is there already, or that there is no memory for, is left out. */
void inbox_put(struct inbox *b, const char *name);
/* Takes the oldest; false: it is empty. */
bool inbox_take(struct inbox *b, char name[INBOX_NAME_SIZE]);

#endif
