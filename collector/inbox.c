/* inbox.c: names from one worker for another */
#include "collector/inbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct entry {
    char name[INBOX_NAME_SIZE];
    UT_hash_handle hh; /* in the order in which they came */
};

struct inbox {
    pthread_mutex_t lock;
    struct entry *entries;
};

enum status inbox_create(struct inbox **out)
{
    struct inbox *b = calloc(1, sizeof(*b));

    if (!b)
        return STATUS_NO_MEMORY;
    pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return STATUS_OK;
}

void inbox_destroy(struct inbox *b)
{
    char name[INBOX_NAME_SIZE];

    if (!b)
        return;
    while (inbox_take(b, name)) {
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void inbox_put(struct inbox *b, const char *name)
{
    struct entry *e;

    pthread_mutex_lock(&b->lock);
    HASH_FIND_STR(b->entries, name, e);
    if (!e && (e = calloc(1, sizeof(*e)))) {
        strncpy(e->name, name, sizeof(e->name) - 1);
        HASH_ADD_STR(b->entries, name, e);
    }
    pthread_mutex_unlock(&b->lock);
}

bool inbox_take(struct inbox *b, char name[INBOX_NAME_SIZE])
{
    struct entry *e;
    bool there;

    pthread_mutex_lock(&b->lock);
    if ((there = (e = b->entries))) {
        memcpy(name, e->name, INBOX_NAME_SIZE);
        HASH_DEL(b->entries, e);
    }
    pthread_mutex_unlock(&b->lock);
    free(e);
    return there;
}
