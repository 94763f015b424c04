/*
 * storage: where tenants' files lie, and how many bytes they are. One const struct of operations a back end.
 *
 * The collector measures. The filesystem back end counts the bytes of regular files below a folder, does not follow symbolic
 * links, counts a file with several links once a link, and stays on the folder's own file system.
 */
#ifndef REMOTE_STORAGE_H
#define REMOTE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

struct storage {
    const char *name;
    /*
     * Bytes of what lies at `path` below `root`; a missing one is 0 bytes. `stopped` (may be NULL) is asked now and then.
     * STATUS_INVALID: the path leaves the root; STATUS_IO; STATUS_END: it was stopped.
     */
    enum status (*measure)(const char *root, const char *path, bool (*stopped)(void), int64_t *bytes);
};

/* By its place among the choices of storage.backend, NULL when there is none. */
const struct storage *storage_find(size_t kind);

#endif
