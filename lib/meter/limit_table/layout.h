/* limit_table_layout: the limit table's bytes; for the limit_table_*.c files alone. Native byte order: one machine, one table. */
#ifndef METER_LIMIT_TABLE_LAYOUT_H
#define METER_LIMIT_TABLE_LAYOUT_H

#include <setjmp.h>
#include <stdatomic.h>

#include "lib/meter/limit_table/limit_table.h"

#define TABLE_MAGIC "TGLIMIT1"
#define INDEX_MAGIC "TGINDEX1"
#define TABLE_TENANTS_AT (128u << 10)             /* behind the header and the writers */
#define TABLE_TENANTS_MAX (1u << 20)              /* places that the mapping is reserved for */
#define TABLE_GROW 256u                           /* places added at a time */
#define TABLE_LOCK_AT INT64_C(0x4000000000000000) /* writers' locks: bytes far behind the file's end */
#define INDEX_FIRST_PLACES 4096u
#define INDEX_FILE "limits.index"       /* in run_dir: the index in force */
#define INDEX_MAKING "limits.index.new" /* one that is being filled */
#define TABLE_WANTED 4u /* leases that a writer asks for at a time; what is overwritten is asked for again */

struct table_writer {
    _Atomic uint64_t mark; /* tenant's index + 1 between take and done */
    _Atomic uint64_t results[LIMIT_RESULTS];
    _Atomic uint64_t latency[LIMIT_LATENCY_BUCKETS];
    _Atomic uint64_t latency_sum_us;
    _Atomic uint64_t
        undone; /* how often something was given back; grows after the count fell, before the mark is cleared */
    _Atomic uint64_t wanted[TABLE_WANTED]; /* leases asked for: (tenant's index + 1) << 8 | slot; 0: none */
} __attribute__((aligned(256)));

struct table_identity {
    char magic[8];
    uint32_t version;
    uint32_t tenant_bytes; /* sizeof (struct table_tenant) of the writer: another build's layout is another version */
    unsigned char node[16];
    uint64_t id;       /* random; the index names it too */
    uint64_t checksum; /* xxh3 of the above */
};

struct table_header {
    struct table_identity identity;
    _Atomic uint32_t superseded;
    _Atomic uint32_t ready;
    _Atomic uint32_t damaged; /* somebody met bytes that are wrong */
    _Atomic uint32_t n_tenants;
    _Atomic uint32_t capacity;          /* places that the file has */
    _Atomic uint32_t catalogue_version; /* its lowest bit says which copy is in force */
    _Atomic uint64_t index_generation;
    _Atomic int64_t followed_us;
    struct {
        struct limit_catalogue catalogue;
        uint64_t checksum;
    } catalogues[2];
};

struct table_config {
    char tier[LIMIT_TIER_SIZE];
    struct limit limits[LIMIT_TABLE_LIMITS];
    uint64_t state;
    uint64_t checksum; /* xxh3 of the above, seeded with the table, the place and the tenant's id */
};

struct table_span {
    _Atomic int64_t start_us;
    _Atomic int64_t end_us; /* 0: not in use; written last */
    _Atomic int64_t end_offset_s;
};

/* This node's lease on a window's end. */
struct table_lease {
    _Atomic int64_t start_us; /* of the window; 0: none */
    _Atomic int64_t left;
};

struct table_tenant {
    char id[LIMIT_TENANT_SIZE]; /* never changes once the place is used */
    _Atomic uint32_t version;   /* its lowest bit says which config is in force */
    struct table_config configs[2];
    struct table_span days[LIMIT_DAYS];
    struct table_span periods[LIMIT_PERIODS];
    _Atomic int64_t counts[LIMIT_TABLE_LIMITS][LIMIT_DAYS]; /* by span; gauges and minutes (tat_ns) use [0] */
    struct table_lease leases[LIMIT_TABLE_LIMITS];
    _Atomic int64_t degraded[LIMIT_TABLE_METRICS];
} __attribute__((aligned(64)));

/* INDEX_SECOND: the second expiry is the one in force. */
enum { INDEX_USED = 1, INDEX_OPERATOR = 2, INDEX_REVOKED = 4, INDEX_DROPPED = 8, INDEX_SECOND = 16 };
#define INDEX_CHECK UINT64_C(0xffff0000)

struct index_key {
    unsigned char hash[LIMIT_HASH_BYTES];
    char id[8];
    _Atomic int64_t expires_us[2];
    _Atomic uint64_t meta; /* flags | scopes << 8 | check << 16 | tenant << 32; 0: the place is free; written last */
};

struct index_tenant {
    _Atomic uint64_t hash;  /* xxh3 of the id */
    _Atomic uint64_t place; /* index + 1, 0: free; written last */
};

struct index_header {
    char magic[8];
    uint64_t table_id;
    uint64_t generation;
    uint64_t key_places, tenant_places; /* powers of two */
    uint64_t checksum;                  /* xxh3 of the above */
    _Atomic uint64_t n_keys, n_tenants;
};

struct limit_table {
    int fd; /* of `limits`, for locks and growth */
    struct table_header *header;
    struct table_writer *writers;
    struct table_tenant *tenants;
    size_t mapped; /* bytes reserved */
    char *index;   /* mapping of `limits.index`, NULL when not mapped */
    size_t index_bytes;
    uint64_t index_generation;
    uint64_t key_places, tenant_places; /* of the index, as they were checked: bytes may go bad while they are mapped */
    int writer;                         /* this process's entry among the writers, -1 */
    int64_t looked_at_us;               /* last look at the file in run_dir */
    bool gone;                          /* that look found another file, or none */
    struct limit_catalogue catalogue;   /* a copy of the one in force */
    uint32_t catalogue_version;
    sigjmp_buf jump;
    char run_dir[512];
};

/*
 * GUARD_ENTER is true; when the file turns out cut short before guard_leave, execution comes back here with false.
 *   if (!GUARD_ENTER(t)) return guard_damaged(t);
 */
#define GUARD_ENTER(t) (guard_arm(t), sigsetjmp((t)->jump, 0) == 0)
void guard_arm(struct limit_table *t);
void guard_leave(struct limit_table *t);
enum status guard_damaged(struct limit_table *t);

/* The body of a function that is the guarded call of another, which returns a status. */
#define GUARDED(t, call)                                    \
    do {                                                    \
        if (!GUARD_ENTER(t))                                \
            return guard_damaged(t);                        \
        enum status guarded_status = table_report(t, call); \
        guard_leave(t);                                     \
        return guarded_status;                              \
    } while (0)

/* Maps all pages at once, so that no call pays for the first touch of one. */
void table_touch(void *at, size_t bytes);
/* The tenant at `index`, or NULL when there is no such place. Within a guard. */
struct table_tenant *table_tenant_at(struct limit_table *t, uint32_t index);
/* A consistent copy of the config in force. STATUS_DAMAGED. */
MUST_CHECK enum status table_config_read(const struct limit_table *t, uint32_t index, struct table_config *out);
uint64_t table_config_checksum(const struct limit_table *t, const struct table_config *c, uint32_t index);
/* `meta` with its check in place: over the entry's hash and id, meta's other bits and the expiry that they choose. */
uint64_t table_key_meta(const struct index_key *k, uint64_t meta);
/* Hands `s` on; STATUS_DAMAGED is also told to the others, so that the collector makes a new table. Within a guard. */
enum status table_report(struct limit_table *t, enum status s);
/* Refreshes t->catalogue when another is in force. */
MUST_CHECK enum status table_catalogue_refresh(struct limit_table *t);
/* The span of a ring that holds `at_us`, or -1. */
int table_span_at(const struct table_span *spans, int n, int64_t at_us);
/* Spans and their number of a window kind; NULL for gauges and minutes. */
struct table_span *table_spans(struct table_tenant *tenant, uint8_t window, int *n);
/* Maps the index file `name` of run_dir in place of the one that is mapped. */
MUST_CHECK enum status table_index_map(struct limit_table *t, const char *name);
/* Maps the index in force. */
MUST_CHECK enum status table_index_refresh(struct limit_table *t);
struct index_header *table_index(struct limit_table *t);
struct index_key *table_index_keys(struct limit_table *t);
struct index_tenant *table_index_tenants(struct limit_table *t);
uint64_t table_index_checksum(const struct index_header *h);
/* Writes an empty index with these places for this table to INDEX_MAKING, where no reader looks. */
MUST_CHECK enum status table_index_make(const char *run_dir, uint64_t table_id, uint64_t generation,
                                        uint64_t key_places, uint64_t tenant_places);
/* Renames INDEX_MAKING to INDEX_FILE: it must be complete, because a reader may open it at once. */
MUST_CHECK enum status table_index_show(const char *run_dir);

#endif
