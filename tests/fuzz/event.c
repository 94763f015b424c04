/* event.c: any bytes as a record: what is decoded lies within them and is the same after encoding it again */
#include "tests/fuzz/input.h"
#include "tests/fuzz/seal.h"

#define SEED UINT64_C(0x746f6c6c67617465)

static void must_be_within(struct text t, const unsigned char *from, size_t length)
{
    must(t.at >= (const char *)from && t.length <= length && t.at + t.length <= (const char *)from + length);
}

static int same_text(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

static void must_be_the_same(const struct event *a, const struct event *b)
{
    must(same_text(a->tenant, b->tenant) && same_text(a->metric, b->metric) && same_text(a->source, b->source) &&
         same_text(a->id, b->id) && same_text(a->metadata, b->metadata));
    must(a->recorded_us == b->recorded_us && a->appended_us == b->appended_us && a->value == b->value &&
         a->sequence == b->sequence && a->flags == b->flags);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct event e, again;
    size_t length = 0, length_again;
    unsigned char *bytes = malloc(size ? size : 1), *encoded = NULL; /* of this very size: a byte too far is seen */

    must(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    size_t claimed = seal_length(bytes, size);
    if (claimed)
        seal(bytes, claimed, SEED);
    if (event_decode(bytes, size, SEED, &e, &length) != STATUS_OK)
        goto out;
    must(length <= size && event_size(&e) == length);
    const struct text *texts[] = {&e.tenant, &e.metric, &e.source, &e.id, &e.metadata};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        must_be_within(*texts[i], bytes, length);
    encoded = malloc(length);
    must(encoded != NULL);
    must(event_encode(&e, SEED + 1, encoded, length, &length_again) == STATUS_OK && length_again == length);
    must(event_decode(encoded, length, SEED + 1, &again, &length_again) == STATUS_OK && length_again == length);
    must_be_the_same(&e, &again);
    must(event_decode(encoded, length, SEED, &again, &length_again) == STATUS_DAMAGED);
out:
    free(encoded);
    free(bytes);
    return 0;
}
