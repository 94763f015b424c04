/*
 * event: one measurement, and its bytes in the spool.
 *
 * The gate and the web program encode, the collector and `tollgate spool` decode. Neither side
 * allocates: the encoder writes into the caller's buffer, a decoded event points into the
 * caller's bytes and lives as long as they do.
 *
 * A record, little-endian, padded with zeros to a multiple of 8 bytes:
 *
 *   offset size
 *        0    4  magic "TGR1"
 *        4    4  length of the whole record, padding included (EVENT_FIXED_BYTES..EVENT_MAX_BYTES)
 *        8    8  xxh3-64 of bytes 16..length, seeded with the record's seed (spool.h) xor length << 40
 *       16    8  sequence in its segment, from 0, without gaps
 *       24    8  appended, microseconds UTC, by the wall clock of the writer
 *       32    8  recorded (the event's own time), microseconds UTC
 *       40    8  value in millionths, signed
 *       48    2  bytes of tenant (1..255)
 *       50    2  bytes of metric (1..100)
 *       52    2  bytes of source (0..255; "" is Tollgate itself)
 *       54    2  bytes of id (0..255; 0: not idempotent)
 *       56    4  bytes of metadata, a JSON object (0..EVENT_METADATA_MAX; 0: {})
 *       60    1  flags, enum event_flag, and from bit 2 on five bits of the limit table that EVENT_COUNTED means
 *       61    3  length, in units of 8 bytes, of the records behind it that were appended with it: none is there without all
 *       64       tenant, metric, source, id, metadata; no NUL between
 */
#ifndef METER_EVENT_H
#define METER_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define EVENT_MILLION INT64_C(1000000) /* one unit of a value */
#define EVENT_FIXED_BYTES 64
#define EVENT_TENANT_MAX 255
#define EVENT_METRIC_MAX 100
#define EVENT_SOURCE_MAX 255
#define EVENT_ID_MAX 255
#define EVENT_METADATA_MAX 65536
#define EVENT_MAX_BYTES 67072 /* fixed part, the longest strings, padding */
/* numeric(20,6) holds 14 digits before the point; values beyond are refused at the door */
#define EVENT_VALUE_MAX INT64_C(1000000000000000000) /* 10^12 units, in millionths */

enum event_flag {
    EVENT_COUNTED = 1,  /* a limit table of this node holds it already: the collector must not add it to that one */
    EVENT_DEGRADED = 2, /* stands for calls counted while the spool could not be written */
    EVENT_DELTA = 128,  /* of a gauge: the value is added to its level; without it, it is the level. Programs before
                         * this flag refuse the record as STATUS_VERSION, so none takes a change for a level */
};

#define EVENT_TABLE_SHIFT 2
#define EVENT_TABLE_MOST 31 /* 0 is of version 2, whose records say nothing of their table */

/* Text of a given length, not NUL-terminated. */
struct text {
    const char *at;
    size_t length;
};

struct event {
    struct text tenant, metric, source, id, metadata;
    int64_t recorded_us, appended_us;
    int64_t value; /* millionths */
    uint64_t sequence;
    uint32_t following; /* bytes of the records behind it that were appended with it, a multiple of 8, below 2^27 */
    uint8_t flags;
};

/* Bytes that `e` takes encoded, or 0 when one of its parts is out of its range. */
size_t event_size(const struct event *e);

/*
 * Writes `e` to `out` (event_size(e) bytes, which must be `size` or less) and its length to `length`.
 * STATUS_INVALID when a part is out of range, STATUS_LIMIT when it does not fit.
 */
MUST_CHECK enum status event_encode(const struct event *e, uint64_t seed, unsigned char *out, size_t size,
                                    size_t *length);

/*
 * Reads the record at `in`. STATUS_END: fewer than a record's bytes are there, and they may be the
 * start of one; STATUS_DAMAGED: what is there is no record of this seed.
 */
MUST_CHECK enum status event_decode(const unsigned char *in, size_t size, uint64_t seed, struct event *e,
                                    size_t *length);

#endif
