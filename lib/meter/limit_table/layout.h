/* limit_table/layout: the limit table's bytes; for the files of this folder alone. Native byte order: one machine, one table. */
#ifndef METER_LIMIT_TABLE_LAYOUT_H
#define METER_LIMIT_TABLE_LAYOUT_H

#include <setjmp.h>
#include <stdatomic.h>

#include "lib/meter/limit_table/limit_table.h"

#define TABLE_MAGIC "TGLIMIT1"
#define INDEX_MAGIC "TGINDEX1"
#define TABLE_REFUSED_AT (128u << 10) /* behind the header and the writers: a bit for each place */
#define TABLE_TENANTS_AT (256u << 10)
#define TABLE_GROW 256u                           /* places added at a time */
#define TABLE_LOCK_AT INT64_C(0x4000000000000000) /* writers' locks: bytes far behind the file's end */
#define INDEX_FIRST_PLACES 4096u
#define TABLE_TEXT_OF(number) #number
#define TABLE_TEXT(number) TABLE_TEXT_OF(number)
#define TABLE_FILE "limits." TABLE_TEXT(LIMIT_TABLE_VERSION) /* in run_dir: the table in force */
#define TABLE_MAKING TABLE_FILE ".new"                       /* one that is being filled */
#define TABLE_CELLS 16                                       /* in a tenant's own place */
#define TABLE_CELLS_MORE 21                                  /* in each place that is added to it */
#define TABLE_PLACES_MORE 6
#define TABLE_DEGRADED 24u /* metrics of a tenant that are counted without the spool */
#define TABLE_DEGRADED_SHIFT 57
#define TABLE_DEGRADED_AMOUNT ((UINT64_C(1) << TABLE_DEGRADED_SHIFT) - 1)
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
    uint64_t id;       /* random; the index's name has it, too */
    uint64_t mark;     /* in the flags of records that were counted in it; another than that of tables before */
    uint64_t checksum; /* xxh3 of the above */
};

struct table_header {
    struct table_identity identity; /* it and the next stand there in every version from 3 on */
    _Atomic uint32_t superseded;
    _Atomic uint32_t damaged;           /* somebody met bytes that are wrong */
    _Atomic uint32_t n_places;          /* of tenants and what was added to them */
    _Atomic uint32_t capacity;          /* places that the file has */
    _Atomic uint32_t catalogue_version; /* its lowest bit says which copy is in force */
    _Atomic uint64_t index_generation;
    _Atomic int64_t followed_us;
    _Atomic int64_t filled_us;
    _Atomic uint64_t refused[LIMIT_TABLE_LIMITS]; /* of all tenants */
    struct {
        struct limit_catalogue catalogue;
        uint64_t checksum;
    } catalogues[2];
};

struct table_config {
    char tier[LIMIT_TIER_SIZE];
    uint64_t state;
    uint64_t checksum; /* xxh3 of the above, seeded with the table, the place and the tenant's id */
};

struct table_span {
    _Atomic int64_t start_us;
    _Atomic uint64_t end; /* seconds since 1970 << 32 | the zone's offset there; 0: not in use; written last */
};

/* A window of a tenant's, and where a cell has its count. */
struct table_window {
    int64_t start_us, end_us; /* both 0 of a minute and a gauge */
    int32_t end_offset_s;
    int at;   /* which of the cell's counts */
    int hour; /* of an hour: its mark in the count's word; else -1 */
};

/* This node's lease on a window's end. */
struct table_lease {
    _Atomic int64_t start_us; /* of the window; 0: none */
    _Atomic int64_t left;
};

/* A limit as it lies in the table: struct limit without its window, which the catalogue has. */
struct table_limit {
    int64_t max, until_us, max_after, grace_until_us;
    uint16_t grace_percent;
    uint8_t mode, lease_percent;
    uint32_t check; /* xxh3 of the above, seeded with the table, the tenant's place and the limit */
};

struct table_cell {
    struct table_limit limits[2]; /* the lowest bit of the tenant's version says which is in force */
    /* By span; minutes (tat_ns) use [0], gauges three (counts.c). Hours: by their number, each with a mark of its hour (table_count_of). */
    _Atomic int64_t counts[LIMIT_DAYS];
    struct table_lease lease;
    _Atomic uint64_t refused[2]; /* the hour's start in quarters of an hour since 1970 << 40 | refusals in it */
};

struct table_tenant {
    char id[LIMIT_TENANT_SIZE]; /* never changes once the place is used; "" of a place that was added to a tenant's */
    _Atomic uint32_t version;   /* its lowest bit says which config and limits are in force */
    uint32_t n_cells;
    _Atomic uint32_t more[TABLE_PLACES_MORE];    /* index + 1 of places that were added; 0: none */
    _Atomic uint32_t credits;                    /* index + 1 of a place of struct table_credits; 0: none */
    _Atomic uint32_t keys;                       /* the same of struct table_keys */
    uint32_t reserved;                           /* for windows to come */
    _Atomic uint64_t held;                       /* metrics whose limits all have cells; written last */
    _Atomic uint8_t cell_of[LIMIT_TABLE_LIMITS]; /* cell + 1 of each limit of the catalogue; 0: none */
    struct table_config configs[2];
    struct table_span days[LIMIT_DAYS];
    struct table_span weeks[LIMIT_WEEKS];
    struct table_span periods[LIMIT_PERIODS];
    _Atomic uint64_t degraded[TABLE_DEGRADED]; /* metric + 1 << 57 | amount */
    struct table_cell cells[TABLE_CELLS];
} __attribute__((aligned(4096)));

/* A place that was added to a tenant's. */
struct table_more {
    char none[LIMIT_TENANT_SIZE - 200]; /* where a tenant has its id: "" */
    uint32_t owner;                     /* the tenant's index + 1 */
    uint32_t reserved;
    struct table_cell cells[TABLE_CELLS_MORE];
} __attribute__((aligned(4096)));

/* A place that was added for a tenant's credits: two lists, of which the lowest bit of the tenant's version says which is in force. */
struct table_credit {
    struct limit_credit credit;
    uint64_t check; /* xxh3 of the above, seeded with the table and the tenant's place */
};
struct table_credits {
    char none[LIMIT_TENANT_SIZE - 200];
    uint32_t owner;
    uint32_t reserved;
    struct {
        uint64_t n;
        struct table_credit credits[LIMIT_CREDITS];
    } lists[2];
} __attribute__((aligned(4096)));

/* A place that was added for limits of single keys, in the same way; an entry's `at` says where its count is. */
struct table_key_limit {
    char key[8];
    uint8_t slot, at;
    uint8_t mode;
    uint8_t reserved;
    uint32_t grace_percent;
    int64_t max, until_us, grace_until_us;
    uint64_t check; /* xxh3 of the above, seeded with the table and the tenant's place */
};
struct table_keys {
    char none[LIMIT_TENANT_SIZE - 200];
    uint32_t owner;
    uint32_t reserved;
    _Atomic int64_t counts[LIMIT_KEY_LIMITS]; /* tat_ns */
    struct {
        uint64_t n;
        struct table_key_limit limits[LIMIT_KEY_LIMITS];
    } lists[2];
} __attribute__((aligned(4096)));

_Static_assert(sizeof(struct table_keys) == 4096, "a place has 4 KiB");
_Static_assert(sizeof(struct table_credits) == 4096, "a place has 4 KiB");
_Static_assert(sizeof(struct table_tenant) == 4096 && sizeof(struct table_more) == 4096, "a place has 4 KiB");
_Static_assert(TABLE_CELLS + TABLE_PLACES_MORE * TABLE_CELLS_MORE >= LIMIT_TABLE_LIMITS, "each limit finds a cell");
_Static_assert(LIMIT_TABLE_METRICS <= 64, "a bit each");
_Static_assert(LIMIT_TABLE_PLACES % TABLE_GROW == 0, "the file grows up to all places");

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
    _Atomic uint64_t *refused; /* a bit for each place: something was refused since the collector looked */
    struct table_tenant *tenants;
    size_t mapped; /* bytes reserved */
    uint64_t id;   /* of its identity, as it was checked: bytes may go bad while they are mapped */
    uint8_t mark;
    char *index; /* mapping of the index, NULL when not mapped */
    size_t index_bytes;
    uint64_t index_generation;
    uint64_t key_places, tenant_places; /* of the index, as they were checked */
    int writer;                         /* this process's entry among the writers, -1 */
    int64_t looked_at_us;               /* last look at the file in run_dir */
    bool hidden;                        /* nobody sees it yet */
    bool gone;                          /* that look found another file, or none */
    struct limit_catalogue catalogue;   /* a copy of the one in force */
    uint32_t catalogue_version;
    uint8_t first_limit[LIMIT_TABLE_METRICS]; /* of a metric, + 1; then next_limit; 0: no more */
    uint8_t next_limit[LIMIT_TABLE_LIMITS];
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

uint64_t table_identity_checksum(const struct table_identity *i);
/* Maps the table's file `name` of run_dir, whatever its state. */
MUST_CHECK enum status table_map(const char *run_dir, const char *name, struct limit_table **out);
/* Maps all pages at once, so that no call pays for the first touch of one. */
void table_touch(void *at, size_t bytes);
/* The tenant at `index`, or NULL when there is no such place. Within a guard. */
struct table_tenant *table_tenant_at(struct limit_table *t, uint32_t index);
/* A consistent copy of the config in force. STATUS_DAMAGED. */
MUST_CHECK enum status table_config_read(const struct limit_table *t, uint32_t index, struct table_config *out);
/* A copy of the config of `version`. STATUS_DAMAGED: it is not sound, or was overwritten meanwhile. */
MUST_CHECK enum status table_config_copy(const struct limit_table *t, uint32_t index, uint32_t version,
                                         struct table_config *out);
/* Was another version published since, so that what was read is to be read again? Not for ever. */
bool table_read_again(const struct limit_table *t, uint32_t index, uint32_t version, int *tries);
/* The cell of a tenant's limit. STATUS_NOT_FOUND: its metric is not held. STATUS_DAMAGED. */
MUST_CHECK enum status table_find_cell(const struct limit_table *t, uint32_t index, uint32_t slot,
                                       struct table_cell **out);
/* A copy of the limit of `version`, with its window. STATUS_DAMAGED as above. */
MUST_CHECK enum status table_limit_copy(const struct limit_table *t, uint32_t index, uint32_t slot,
                                        const struct table_cell *cell, uint32_t version, struct limit *out);
uint32_t table_limit_check(const struct limit_table *t, uint32_t index, uint32_t slot, const struct table_limit *l);
uint64_t table_config_checksum(const struct limit_table *t, const struct table_config *c, uint32_t index);
/* `meta` with its check in place: over the entry's hash and id, meta's other bits and the expiry that they choose. */
uint64_t table_key_meta(const struct index_key *k, uint64_t meta);
/* Hands `s` on; STATUS_DAMAGED is also told to the others, so that the collector makes a new table. Within a guard. */
enum status table_report(struct limit_table *t, enum status s);
/* Refreshes t->catalogue when another is in force. */
MUST_CHECK enum status table_catalogue_refresh(struct limit_table *t);
/* The span as a value; end_us 0: it is not in use. */
struct limit_span table_span_read(const struct table_span *span);
/* Spans and their number of a window kind; NULL for gauges, minutes and hours. */
struct table_span *table_spans(struct table_tenant *tenant, uint8_t window, int *n);
/* The window that holds at_us; false: none of the ring's does. */
bool table_window_at(struct table_tenant *tenant, uint8_t window, int64_t at_us, struct table_window *out);
/* The hour that holds at_us in the day that does. */
struct limit_span table_hour_of(const struct limit_span *day, int64_t at_us);
/* What the word says of the hour with this mark, or, of -1, plainly; and the word that says so. */
int64_t table_count_of(int64_t word, int hour);
int64_t table_count_word(int64_t count, int hour);
/* Adds, but not below 0 and not beyond what the word holds. */
void table_count_add(_Atomic int64_t *word, int hour, int64_t amount);
/* Maps the table's index, or the one that is being made, in place of the one that is mapped. */
MUST_CHECK enum status table_index_map(struct limit_table *t, bool making);
/* Maps the index in force. */
MUST_CHECK enum status table_index_refresh(struct limit_table *t);
struct index_header *table_index(struct limit_table *t);
struct index_key *table_index_keys(struct limit_table *t);
struct index_tenant *table_index_tenants(struct limit_table *t);
/* Writes an empty index with these places for this table where no reader looks. */
MUST_CHECK enum status table_index_make(const char *run_dir, uint64_t table_id, uint64_t generation,
                                        uint64_t key_places, uint64_t tenant_places);
/* Renames it to where readers look: it must be complete, because one may open it at once. */
MUST_CHECK enum status table_index_show(const char *run_dir, uint64_t table_id);
/* Path of the table's index, or of the one that is being made. */
MUST_CHECK enum status table_index_path(char *out, size_t size, const char *run_dir, uint64_t table_id, bool making);
/* The index in force, for the collector. */
MUST_CHECK enum status table_index_for_writing(struct limit_table *t);
/* Makes room in it for another entry: whatever was found there before has moved. */
MUST_CHECK enum status table_index_room(struct limit_table *t);
MUST_CHECK enum status table_index_insert(struct limit_table *t, uint64_t hash, uint64_t place);
/* Makes the file large enough for `need` places. */
MUST_CHECK enum status table_grow(struct limit_table *t, uint32_t need);
void table_limit_put(struct limit_table *t, uint32_t index, uint32_t slot, struct table_limit *to,
                     const struct limit *l);
/* Writes the tenant's credits of `version`, which is not in force yet. */
MUST_CHECK enum status table_credits_put(struct limit_table *t, uint32_t index, uint32_t version,
                                         const struct limit_tenant *from);
/* Copies them out. STATUS_DAMAGED. */
MUST_CHECK enum status table_credits_copy(const struct limit_table *t, uint32_t index, uint32_t version,
                                          struct limit_tenant *out);
/* Adds what credits add to a limit of `version` in the window that starts at start_us. STATUS_DAMAGED. */
MUST_CHECK enum status table_credits_add(const struct limit_table *t, uint32_t index, uint32_t version, uint8_t slot,
                                         const struct table_cell *cell, int64_t start_us, int64_t now_us,
                                         struct limit *limit);
/* Writes the limits of the tenant's keys of `version`, which is not in force yet. */
MUST_CHECK enum status table_keys_put(struct limit_table *t, uint32_t index, uint32_t version,
                                      const struct limit_tenant *from);
/* The next limit of `version` on a key and a metric from *next on, which moves behind it; where it is counted. STATUS_END. STATUS_DAMAGED. */
MUST_CHECK enum status table_key_limit(const struct limit_table *t, uint32_t index, uint32_t version, const char *key,
                                       uint8_t metric, uint32_t *next, uint8_t *slot, uint8_t *at, struct limit *out);
/* The count of a key's limit; NULL: the place is not sound. */
_Atomic int64_t *table_key_count(const struct limit_table *t, uint32_t index, uint8_t at);
/* Another place for a tenant's; its bytes are 0 but for the owner's index. */
MUST_CHECK enum status table_place_add(struct limit_table *t, uint32_t owner, uint32_t *place);
/* Holds what the tenant's plan limits, and what it asks for besides. */
MUST_CHECK enum status table_hold_wanted(struct limit_table *t, uint32_t index, const struct limit_tenant *tenant);
/* Counts the refusal of the answer's decisive limit. Within a guard. */
void table_note_refusal(struct limit_table *t, uint32_t index, const struct limit_answer *answer, int64_t now_us);
/* Is the writer with this entry alive? */
bool table_writer_lives(const struct limit_table *t, int writer);

#endif
