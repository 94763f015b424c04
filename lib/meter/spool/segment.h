/* spool_segment: a segment's file name, header and lock; what the spool's writer and reader share, and nobody else. */
#ifndef METER_SPOOL_SEGMENT_H
#define METER_SPOOL_SEGMENT_H

#include <limits.h>

#include "lib/meter/spool/spool.h"

/* `<dir>/<number>.seg`. */
MUST_CHECK enum status spool_segment_path(char out[PATH_MAX], const char *dir, uint64_t number);
/* The number in a file's name; false when it is no segment's. */
bool spool_segment_number(const char *name, uint64_t *number);
/* Opens it for reading. STATUS_NOT_FOUND, STATUS_IO. */
MUST_CHECK enum status spool_segment_open(const char *dir, uint64_t number, int *fd);
void spool_segment_encode(unsigned char out[SPOOL_HEADER_BYTES], const struct spool_segment *s);
/* STATUS_DAMAGED, STATUS_VERSION. Fills number, made_us, pid, kind, node. */
MUST_CHECK enum status spool_segment_decode(const unsigned char in[SPOOL_HEADER_BYTES], struct spool_segment *s);
/* The numbers of the segments in a folder, in no order; *out is the caller's to free. An error gives none of them: never a part. */
MUST_CHECK enum status spool_numbers(const char *folder, uint64_t **out, size_t *n);
/* Does a writer hold the file open as `fd`? */
bool spool_segment_live(int fd);
/* STATUS_NO_SPACE, STATUS_NOT_FOUND or STATUS_IO by errno. */
enum status spool_errno(void);

#endif
