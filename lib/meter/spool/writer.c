/* writer.c: a writer's segment: append, rotate, give up */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/meter/spool/segment.h"

#define RESERVE_STEP (256u << 10) /* blocks are reserved so far ahead, so that a full disk shows between records */
#define NUMBER_RANDOM_BITS 12
#define LOOK_AGAIN_US CLOCK_US_PER_SECOND /* the others' segments are looked at so often, and only at the bound's end */
#define NUMBERS_MOST 8                    /* tried before an append fails */
#define HIDDEN_LENGTH 21                  /* ".", 16 digits, ".new" */
#define SWEEP_AGE_S 60                    /* nobody takes so long to make a segment */
#define GIVE_MOST 16                      /* kept segments that an append may remove for its space */

struct spool_writer {
    struct spool_options options;
    struct spool_node node;
    int fd; /* -1: no segment yet */
    uint64_t number, seed;
    uint64_t offset;   /* where the next record goes */
    uint64_t reserved; /* blocks are there up to here */
    uint64_t sequence;
    int64_t made_us;
    bool folder_synced; /* the segment's name is on disk */
    bool at_bound;      /* max_bytes, not the disk, is what an append failed for */
    unsigned char *buffer;
    DIR *folder;          /* open while max_bytes bounds the spool, else NULL */
    uint64_t spool_bytes; /* of all segments at the last look, and what was appended here since */
    int64_t looked_us;    /* monotonic; 0: never */
};

/*
 * `<dir>/.<number>.new`: what a segment is called while it is made. By its number, not by its writer's process id, which writers in
 * two containers share.
 */
static enum status hidden_path(char out[PATH_MAX], const char *dir, uint64_t number)
{
    int n = snprintf(out, PATH_MAX, "%s/.%016" PRIx64 ".new", dir, number);
    return n > 0 && n < PATH_MAX ? STATUS_OK : STATUS_LIMIT;
}

/* Older than anybody takes to make a segment, by a clock that may have been set: a writer then makes it again. */
static bool is_old(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool old = fstat(fd, &st) == 0 && st.st_mtime + SWEEP_AGE_S < clock_wall_us() / CLOCK_US_PER_SECOND;
    close(fd);
    return old;
}

/* Removes the hidden names that killed writers left; they are empty or a segment's second name. */
static void sweep(const char *dir)
{
    char path[PATH_MAX];
    const struct dirent *entry;
    DIR *d = opendir(dir);
    if (!d)
        return;
    while ((entry = readdir(d))) {
        const char *name = entry->d_name;
        if (name[0] == '.' && strlen(name) == HIDDEN_LENGTH && strcmp(name + 17, ".new") == 0 &&
            io_path(path, sizeof(path), dir, name) == STATUS_OK && is_old(path))
            unlink(path);
    }
    closedir(d);
}

enum status spool_writer_open(const struct spool_options *o, struct spool_writer **out)
{
    struct spool_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return STATUS_NO_MEMORY;
    w->options = *o;
    w->fd = -1;
    enum status s = spool_node_load(o->dir, false, &w->node);
    sweep(o->dir);
    if (s == STATUS_OK && !(w->buffer = malloc(SPOOL_APPEND_MAX)))
        s = STATUS_NO_MEMORY;
    if (s == STATUS_OK && o->max_bytes && !(w->folder = opendir(o->dir)))
        s = spool_errno();
    if (s != STATUS_OK) {
        spool_writer_close(w);
        return s;
    }
    *out = w;
    return STATUS_OK;
}

uint64_t spool_writer_segment(const struct spool_writer *w, uint64_t *bytes)
{
    *bytes = w->fd >= 0 ? w->offset : 0;
    return w->fd >= 0 ? w->number : 0;
}

/* Lets the segment go; an empty one leaves no file. */
static void leave_segment(struct spool_writer *w)
{
    char path[PATH_MAX];
    if (w->fd < 0)
        return;
    if (w->offset == SPOOL_HEADER_BYTES && spool_segment_path(path, w->options.dir, w->number) == STATUS_OK)
        unlink(path);
    else if (w->reserved > w->offset && ftruncate(w->fd, (off_t)w->offset) != 0)
        errno = 0; /* the blocks stay reserved until the segment is removed */
    close(w->fd);
    w->fd = -1;
}

void spool_writer_close(struct spool_writer *w)
{
    if (!w)
        return;
    leave_segment(w);
    if (w->folder)
        closedir(w->folder);
    free(w->buffer);
    free(w);
}

/* What all segments hold, without memory of its own. A folder that can't be read bounds nothing. */
static uint64_t look(const struct spool_writer *w)
{
    const struct dirent *entry;
    char path[PATH_MAX];
    struct stat st;
    uint64_t sum = 0, number;

    rewinddir(w->folder);
    while ((entry = readdir(w->folder)))
        if (spool_segment_number(entry->d_name, &number) &&
            spool_segment_path(path, w->options.dir, number) == STATUS_OK && stat(path, &st) == 0)
            sum += (uint64_t)st.st_size;
    return sum;
}

/* The bound is looked at when blocks are reserved, not at each append; the folder once a second at most. */
static bool within_bound(struct spool_writer *w, size_t more)
{
    int64_t now = clock_mono_us();

    if (!w->folder)
        return true;
    if (w->looked_us == 0 || now - w->looked_us >= LOOK_AGAIN_US) {
        w->spool_bytes = look(w);
        w->looked_us = now;
    }
    return w->spool_bytes + more <= w->options.max_bytes;
}

static enum status reserve(struct spool_writer *w, size_t more)
{
    if (w->offset + more <= w->reserved)
        return STATUS_OK;
    w->at_bound = !within_bound(w, more);
    if (w->at_bound)
        return STATUS_NO_SPACE;
    size_t steps[] = {more > RESERVE_STEP ? more : RESERVE_STEP, more}; /* nearly full: just what is needed */
    for (size_t i = 0; i < 2; i++) {
        if (fallocate(w->fd, FALLOC_FL_KEEP_SIZE, (off_t)w->offset, (off_t)steps[i]) == 0 || errno == EOPNOTSUPP) {
            w->reserved = w->offset + steps[i];
            return STATUS_OK;
        }
        if (errno == EINTR)
            i--;
    }
    return spool_errno();
}

/* By the clock, but never below the floor: what lies there counts as stored. */
static enum status next_number(const struct spool_writer *w, int64_t now_us, uint64_t *number)
{
    uint64_t floor = 0;
    enum status s = spool_floor(w->options.dir, &floor);
    *number = (uint64_t)now_us << NUMBER_RANDOM_BITS | randombytes_uniform(1u << NUMBER_RANDOM_BITS);
    if (*number < floor)
        *number = floor + randombytes_uniform(1u << NUMBER_RANDOM_BITS);
    return s;
}

/* The segment has its name. STATUS_CONFLICT: the floor was raised meanwhile, so its number is given up. */
static enum status above_floor(const struct spool_writer *w, uint64_t number)
{
    uint64_t floor = 0;
    enum status s = spool_floor(w->options.dir, &floor);
    return s == STATUS_OK && number < floor ? STATUS_CONFLICT : s;
}

/* Made under a hidden name, locked, and named when it has its header: nobody ever sees one that is half made. */
static enum status make_segment(struct spool_writer *w)
{
    char hidden[PATH_MAX], path[PATH_MAX];
    unsigned char header[SPOOL_HEADER_BYTES];
    struct spool_segment made = {.made_us = clock_wall_us(), .pid = (uint32_t)getpid(), .kind = w->options.kind};
    enum status s = next_number(w, made.made_us, &made.number);
    memcpy(made.node, w->node.uuid, sizeof(made.node));
    spool_segment_encode(header, &made);
    if (s == STATUS_OK)
        s = spool_segment_path(path, w->options.dir, made.number);
    if (s == STATUS_OK)
        s = hidden_path(hidden, w->options.dir, made.number);
    if (s != STATUS_OK)
        return s;
    int fd = open(hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return spool_errno();
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        s = STATUS_IO;
    else
        s = io_write_all(fd, header, sizeof(header));
    if (s == STATUS_OK && link(hidden, path) != 0) /* never over an existing number */
        s = errno == EEXIST ? STATUS_CONFLICT : spool_errno();
    else if (s == STATUS_OK && (s = above_floor(w, made.number)) != STATUS_OK)
        unlink(path);
    unlink(hidden);
    if (s != STATUS_OK) {
        close(fd);
        return s;
    }
    w->fd = fd;
    w->number = made.number;
    w->made_us = made.made_us;
    w->seed = spool_seed(w->node.uuid, made.number);
    w->offset = w->reserved = SPOOL_HEADER_BYTES;
    w->sequence = 0;
    w->folder_synced = false;
    return STATUS_OK;
}

static enum status new_segment(struct spool_writer *w)
{
    enum status s = STATUS_CONFLICT;
    for (int i = 0; i < NUMBERS_MOST && s == STATUS_CONFLICT; i++)
        s = make_segment(w);
    return s == STATUS_CONFLICT ? STATUS_IO : s;
}

/* A segment that has room for `more` bytes. */
static enum status segment_for(struct spool_writer *w, size_t more, int64_t now_us)
{
    bool used = w->fd >= 0 && w->offset > SPOOL_HEADER_BYTES;
    if (used && (w->offset + more > w->options.segment_bytes || now_us - w->made_us > w->options.segment_age_us ||
                 now_us < w->made_us - w->options.segment_age_us))
        leave_segment(w);
    enum status s = w->fd < 0 ? new_segment(w) : STATUS_OK;
    return s == STATUS_OK ? reserve(w, more) : s;
}

static enum status total_size(const struct event *events, size_t n, size_t *total)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t one = event_size(&events[i]);
        if (one == 0)
            return STATUS_INVALID;
        sum += one;
        if (sum > SPOOL_APPEND_MAX)
            return STATUS_LIMIT;
    }
    *total = sum;
    return STATUS_OK;
}

/* `total` is total_size's. */
static enum status encode_all(struct spool_writer *w, struct event *events, size_t n, size_t total, int64_t now_us)
{
    size_t used = 0, length;
    for (size_t i = 0; i < n; i++) {
        events[i].sequence = w->sequence + i;
        events[i].appended_us = now_us;
        events[i].following = (uint32_t)(total - used - event_size(&events[i]));
        if (events[i].recorded_us == 0)
            events[i].recorded_us = now_us;
        enum status s = event_encode(&events[i], w->seed + w->offset + used, w->buffer + used, SPOOL_APPEND_MAX - used,
                                     &length);
        if (s != STATUS_OK)
            return s;
        used += length;
    }
    return STATUS_OK;
}

/* The new segment's name goes to disk with its first durable record. */
static enum status sync_segment(struct spool_writer *w)
{
    if (fdatasync(w->fd) != 0)
        return spool_errno();
    enum status s = w->folder_synced ? STATUS_OK : io_sync_dir(w->options.dir);
    w->folder_synced = s == STATUS_OK;
    return s;
}

static enum status append(struct spool_writer *w, struct event *events, size_t n, bool durable)
{
    size_t total;
    int64_t now_us = clock_wall_us();
    enum status s = total_size(events, n, &total);
    w->at_bound = false;
    if (s == STATUS_OK)
        s = segment_for(w, total, now_us);
    if (s == STATUS_OK)
        s = encode_all(w, events, n, total, now_us);
    if (s != STATUS_OK)
        return s;

    ssize_t written;
    do
        written = pwrite(w->fd, w->buffer, total, (off_t)w->offset);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t)total) {
        if (durable || w->options.sync == SPOOL_SYNC_ALWAYS)
            s = sync_segment(w);
    } else {
        s = written < 0 ? spool_errno() : STATUS_NO_SPACE;
    }
    if (s != STATUS_OK) {
        /* Cut off what got there, and never append here again: the reader may have looked beyond. */
        if (written > 0 && (ftruncate(w->fd, (off_t)w->offset) != 0 || fdatasync(w->fd) != 0))
            w->offset += 1; /* the file is not known to be empty: it has to stay for the reader */
        leave_segment(w);
        return s;
    }
    w->offset += total;
    w->spool_bytes += total;
    w->sequence += n;
    return STATUS_OK;
}

enum status spool_append(struct spool_writer *w, struct event *events, size_t n, bool durable)
{
    enum status s = append(w, events, n, durable);
    for (int i = 0; i < GIVE_MOST && s == STATUS_NO_SPACE && !w->at_bound && spool_kept_give(w->options.dir); i++)
        s = append(w, events, n, durable);
    return s;
}
