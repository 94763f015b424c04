/* reserve.c: space kept for the collector */
#include "collector/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/io.h"
#include "lib/base/log.h"

void reserve_keep(const struct config *config)
{
    uint64_t bytes = (uint64_t)config->spool.reserve_bytes;
    char path[4096];
    struct statvfs fs;
    struct stat st;
    int fd;

    if (bytes == 0 || io_path(path, sizeof(path), config->paths.spool_dir, "reserve") != STATUS_OK ||
        (stat(path, &st) == 0 && (uint64_t)st.st_size >= bytes) || statvfs(config->paths.spool_dir, &fs) != 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize < 3 * bytes)
        return;
    if ((fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0)
        return;
    if (posix_fallocate(fd, 0, (off_t)bytes) != 0)
        unlink(path);
    close(fd);
}

void reserve_give_back(const struct config *config)
{
    char path[4096];

    if (config->spool.reserve_bytes > 0 &&
        io_path(path, sizeof(path), config->paths.spool_dir, "reserve") == STATUS_OK && unlink(path) == 0)
        log_warning("the disk is full: gave back the reserve of %lld bytes", (long long)config->spool.reserve_bytes);
}
