/* io: whole reads and writes, and files replaced atomically. errno stands after STATUS_IO and STATUS_NO_SPACE. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/base/status.h"

/* Writes all of it; goes on after EINTR and short writes. STATUS_NO_SPACE (ENOSPC, EDQUOT), STATUS_IO. */
MUST_CHECK enum status io_write_all(int fd, const void *bytes, size_t length);
/* Reads a file of at most `max` bytes; *out is malloc'ed with a NUL behind it. STATUS_NOT_FOUND, STATUS_LIMIT, STATUS_IO. */
MUST_CHECK enum status io_read_file(const char *path, size_t max, char **out, size_t *length);
/* Writes a temporary file beside, syncs, renames, syncs the folder. */
MUST_CHECK enum status io_replace_file(const char *path, const void *bytes, size_t length, mode_t mode);
/* mkdir with parents; existing ones are left as they are. */
MUST_CHECK enum status io_make_dir(const char *path, mode_t mode);
/* Joins and checks the length: STATUS_LIMIT when it does not fit. */
MUST_CHECK enum status io_path(char *out, size_t size, const char *dir, const char *name);
/* fsync(2) of a folder, after a file in it was made, renamed or removed. */
MUST_CHECK enum status io_sync_dir(const char *path);

#endif
