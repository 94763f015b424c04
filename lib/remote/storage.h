/*
 * storage: where tenants' files lie, and how many bytes they are. One const struct of operations a back end.
 *
 * The collector measures: it begins a walk and goes on with it a slice at a time, so that a folder of a million files holds up
 * nothing. The filesystem back end counts the bytes of regular files below a folder, does not follow symbolic links, counts a file
 * with several links once a link, and stays on the folder's own file system.
 */
#ifndef REMOTE_STORAGE_H
#define REMOTE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

struct storage_walk;

struct storage {
    const char *name;
    /* Begins at `path` below `root`; a missing one is 0 bytes. STATUS_INVALID: the path leaves the root; STATUS_IO. */
    enum status (*begin)(const char *root, const char *path, struct storage_walk **out);
    /*
     * Goes on. STATUS_OK: it is over, *bytes is the sum; STATUS_END: `pause` (asked now and then) said to stop, call again;
     * STATUS_IO: it can't be read.
     */
    enum status (*go_on)(struct storage_walk *w, bool (*pause)(void *arg), void *arg, int64_t *bytes);
    void (*end)(struct storage_walk *w); /* NULL is allowed */
};

/* By its place among the choices of storage.backend, NULL when there is none. */
const struct storage *storage_find(size_t kind);

#endif
