/* event.c: a record's bytes */
#include "lib/meter/event.h"

#include <endian.h>
#include <string.h>

#include <xxhash.h>

#define MAGIC "TGR1"
#define FOLLOWING_END (1u << 27)
#define CHECKED_FROM 16

static void put16(unsigned char *at, size_t v)
{
    uint16_t le = htole16((uint16_t)v);
    memcpy(at, &le, sizeof(le));
}

static void put32(unsigned char *at, size_t v)
{
    uint32_t le = htole32((uint32_t)v);
    memcpy(at, &le, sizeof(le));
}

static void put64(unsigned char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof(v));
}

static size_t get16(const unsigned char *at)
{
    uint16_t le;
    memcpy(&le, at, sizeof(le));
    return le16toh(le);
}

static uint32_t get32(const unsigned char *at)
{
    uint32_t le;
    memcpy(&le, at, sizeof(le));
    return le32toh(le);
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t le;
    memcpy(&le, at, sizeof(le));
    return le64toh(le);
}

static uint64_t checksum(const unsigned char *record, size_t length, uint64_t seed)
{
    /* The length is covered by making it part of the seed. */
    return XXH3_64bits_withSeed(record + CHECKED_FROM, length - CHECKED_FROM, seed ^ (uint64_t)length << 40);
}

size_t event_size(const struct event *e)
{
    if (e->tenant.length < 1 || e->tenant.length > EVENT_TENANT_MAX || e->metric.length < 1 ||
        e->metric.length > EVENT_METRIC_MAX || e->source.length > EVENT_SOURCE_MAX || e->id.length > EVENT_ID_MAX ||
        e->metadata.length > EVENT_METADATA_MAX || e->value > EVENT_VALUE_MAX || e->value < -EVENT_VALUE_MAX ||
        e->following % 8 || e->following >= FOLLOWING_END)
        return 0;
    size_t n = EVENT_FIXED_BYTES + e->tenant.length + e->metric.length + e->source.length + e->id.length +
               e->metadata.length;
    return (n + 7) & ~(size_t)7;
}

static unsigned char *put_text(unsigned char *at, struct text t)
{
    if (t.length)
        memcpy(at, t.at, t.length);
    return at + t.length;
}

enum status event_encode(const struct event *e, uint64_t seed, unsigned char *out, size_t size, size_t *length)
{
    size_t n = event_size(e);
    if (n == 0)
        return STATUS_INVALID;
    if (n > size)
        return STATUS_LIMIT;
    memcpy(out, MAGIC, 4);
    put32(out + 4, n);
    put64(out + 16, e->sequence);
    put64(out + 24, (uint64_t)e->appended_us);
    put64(out + 32, (uint64_t)e->recorded_us);
    put64(out + 40, (uint64_t)e->value);
    put16(out + 48, e->tenant.length);
    put16(out + 50, e->metric.length);
    put16(out + 52, e->source.length);
    put16(out + 54, e->id.length);
    put32(out + 56, e->metadata.length);
    put32(out + 60, e->flags | e->following / 8 << 8);
    unsigned char *at = put_text(out + EVENT_FIXED_BYTES, e->tenant);
    at = put_text(at, e->metric);
    at = put_text(at, e->source);
    at = put_text(at, e->id);
    at = put_text(at, e->metadata);
    memset(at, 0, (size_t)(out + n - at));
    put64(out + 8, checksum(out, n, seed));
    *length = n;
    return STATUS_OK;
}

/* How many bytes the record at `in` says it has, 0 when it can't be one. `size` < 8 gives 0 bytes of knowledge: END. */
static enum status claimed_length(const unsigned char *in, size_t size, size_t *length)
{
    if (memcmp(in, MAGIC, size < 4 ? size : 4) != 0)
        return STATUS_DAMAGED;
    if (size < 8)
        return STATUS_END;
    size_t n = get32(in + 4);
    if (n < EVENT_FIXED_BYTES || n > EVENT_MAX_BYTES || n % 8 != 0)
        return STATUS_DAMAGED;
    *length = n;
    return size < n ? STATUS_END : STATUS_OK;
}

static const unsigned char *get_text(const unsigned char *at, size_t length, struct text *t)
{
    *t = (struct text){(const char *)at, length};
    return at + length;
}

enum status event_decode(const unsigned char *in, size_t size, uint64_t seed, struct event *e, size_t *length)
{
    size_t n;
    enum status s = claimed_length(in, size, &n);
    if (s != STATUS_OK)
        return s;
    if (get64(in + 8) != checksum(in, n, seed))
        return STATUS_DAMAGED;
    struct event found = {
        .sequence = get64(in + 16),
        .appended_us = (int64_t)get64(in + 24),
        .recorded_us = (int64_t)get64(in + 32),
        .value = (int64_t)get64(in + 40),
        .following = (uint32_t)(get32(in + 60) >> 8) * 8,
        .flags = in[60],
    };
    size_t lengths[] = {get16(in + 48), get16(in + 50), get16(in + 52), get16(in + 54), get32(in + 56)};
    struct text *texts[] = {&found.tenant, &found.metric, &found.source, &found.id, &found.metadata};
    size_t left = n - EVENT_FIXED_BYTES;
    const unsigned char *at = in + EVENT_FIXED_BYTES;
    for (size_t i = 0; i < 5; i++) {
        if (lengths[i] > left)
            return STATUS_DAMAGED;
        left -= lengths[i];
        at = get_text(at, lengths[i], texts[i]);
    }
    if (event_size(&found) != n)
        return STATUS_DAMAGED;
    *e = found;
    *length = n;
    return STATUS_OK;
}
