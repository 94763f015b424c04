/* feed_changes.c: keys, what was changed, and leases, read from PostgreSQL */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "lib/store/feed.h"
#include "lib/store/feed_parts.h"

#define PAGE_ROWS 2000 /* rows held at a time, however many keys there are */
#define TEXT_OF(number) #number
#define PAGE_TEXT(number) TEXT_OF(number)

typedef enum status row_fn(void *arg, const struct db_rows *rows, size_t row);

/* Every row of a statement with one parameter, a page at a time. */
static enum status each_row(struct feed *p, const char *sql, const char *param, row_fn *fn, void *arg)
{
    char declare[4096];
    struct db_rows *rows;
    size_t n;
    enum status s = STATUS_LIMIT;

    if ((size_t)snprintf(declare, sizeof(declare), "DECLARE page NO SCROLL CURSOR FOR %s", sql) >= sizeof(declare))
        return s;
    if ((s = db_query(p->db, declare, DB_WITH(param), NULL)) != STATUS_OK)
        return s;
    do {
        if ((s = db_query(p->db, "FETCH " PAGE_TEXT(PAGE_ROWS) " FROM page", 0, NULL, &rows)) != STATUS_OK)
            return s;
        n = db_count(rows);
        for (size_t i = 0; i < n && s == STATUS_OK; i++)
            s = fn(arg, rows, i);
        db_rows_free(rows);
    } while (s == STATUS_OK && n == PAGE_ROWS);
    return s == STATUS_OK ? db_query(p->db, "CLOSE page", 0, NULL, NULL) : s;
}

/* ---- keys ---- */

/* bytea's text form, "\x…"; false when it is not `n` bytes. */
static bool read_hex(const char *text, unsigned char *out, size_t n)
{
    size_t length;

    return strncmp(text, "\\x", 2) == 0 && strlen(text) == 2 + 2 * n &&
           sodium_hex2bin(out, n, text + 2, 2 * n, NULL, &length, NULL) == 0 && length == n;
}

static uint8_t read_scopes(const char *text)
{
    static const struct {
        const char *name;
        uint8_t scope;
    } scopes[] = {{"call", LIMIT_SCOPE_CALL},
                  {"track", LIMIT_SCOPE_TRACK},
                  {"read", LIMIT_SCOPE_READ},
                  {"admin", LIMIT_SCOPE_ADMIN},
                  {"metrics", LIMIT_SCOPE_METRICS}};
    uint8_t found = 0;

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
        if (strstr(text, scopes[i].name))
            found |= scopes[i].scope;
    return found;
}

struct key_reader {
    feed_key_fn *fn;
    void *arg;
};

static enum status one_key(void *arg, const struct db_rows *rows, size_t row)
{
    const struct key_reader *r = arg;
    struct limit_key k;

    memset(&k, 0, sizeof(k));
    if (!read_hex(db_text(rows, row, 3), k.hash, sizeof(k.hash)))
        return STATUS_OK;
    snprintf(k.id, sizeof(k.id), "%s", db_text(rows, row, 0));
    k.is_operator = db_bool(rows, row, 2);
    k.scopes = read_scopes(db_text(rows, row, 4));
    k.revoked = db_bool(rows, row, 5);
    k.expires_us = db_null(rows, row, 6) ? LIMIT_NEVER : db_int(rows, row, 6);
    return r->fn(r->arg, &k, db_text(rows, row, 1));
}

#define KEY_COLUMNS                                                                               \
    "SELECT id, coalesce(tenant_id, ''), tenant_id IS NULL, hash, array_to_string(scopes, ','), " \
    "revoked_at IS NOT NULL, tollgate.us(expires_at) FROM tollgate.api_keys "

enum status feed_keys(struct feed *p, const char *tenant, feed_key_fn *fn, void *arg)
{
    struct key_reader r = {fn, arg};

    return each_row(p, KEY_COLUMNS "WHERE $1::text IS NULL OR tenant_id = $1", tenant, one_key, &r);
}

struct key_change_reader {
    struct key_reader key;
    feed_gone_fn *gone;
};

static enum status one_key_change(void *arg, const struct db_rows *rows, size_t row)
{
    struct key_change_reader *r = arg;
    unsigned char hash[LIMIT_HASH_BYTES];

    if (!db_null(rows, row, 7))
        return read_hex(db_text(rows, row, 7), hash, sizeof(hash)) ? r->gone(r->key.arg, hash) : STATUS_OK;
    return db_null(rows, row, 0) ? STATUS_OK : one_key(&r->key, rows, row);
}

/* What closes the door comes first. */
enum status feed_keys_since(struct feed *p, const char *cursor, feed_key_fn *fn, feed_gone_fn *gone, void *arg)
{
    static const char sql[] =
        "WITH changed AS (SELECT DISTINCT subject, hash FROM tollgate.config_changes WHERE kind = 'key' AND " FEED_NEW
        ") "
        "SELECT NULL, '', NULL, NULL, NULL, NULL, NULL, c.hash FROM changed c "
        "WHERE NOT EXISTS (SELECT FROM tollgate.api_keys k WHERE k.hash = c.hash) AND c.hash IS NOT NULL "
        "UNION ALL (SELECT k.*, NULL::bytea FROM (" KEY_COLUMNS
        "WHERE id IN (SELECT subject::pg_catalog.bpchar FROM changed)) k ORDER BY 6 DESC)";
    struct key_change_reader r = {{fn, arg}, gone};

    return each_row(p, sql, cursor, one_key_change, &r);
}

/* ---- changes ---- */

static enum status each_change(struct feed *p, const char *sql, size_t n, const char *cursor, feed_change_fn *fn,
                               void *arg)
{
    struct db_rows *rows;
    enum status s = db_query(p->db, sql, n, (const char *[]){cursor}, &rows);

    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        unsigned char hash[LIMIT_HASH_BYTES];
        bool known = !db_null(rows, i, 2) && read_hex(db_text(rows, i, 2), hash, sizeof(hash));
        struct feed_change c = {
            .kind = db_text(rows, i, 0), .subject = db_text(rows, i, 1), .hash = known ? hash : NULL};

        s = fn(arg, &c);
    }
    db_rows_free(rows);
    return s;
}

enum status feed_changes(struct feed *p, enum feed_what what, const char *cursor, feed_change_fn *fn, void *arg)
{
    static const char *const sql[] = {
        [FEED_CONFIG] = "SELECT DISTINCT kind, subject, NULL FROM tollgate.config_changes "
                        "WHERE kind IN ('catalogue', 'tenant') AND " FEED_NEW " ORDER BY kind, subject",
        [FEED_LEASES] =
            "SELECT DISTINCT kind, subject, NULL FROM tollgate.config_changes WHERE kind = 'lease' AND " FEED_NEW,
    };

    return each_change(p, sql[what], 1, cursor, fn, arg);
}

enum status feed_removed(struct feed *p, feed_change_fn *fn, void *arg)
{
    return each_change(
        p,
        "SELECT kind, subject, min(hash::text) FROM tollgate.config_changes c WHERE kind IN ('tenant', 'key') "
        "AND NOT EXISTS (SELECT FROM tollgate.tenants t WHERE c.kind = 'tenant' AND t.id = c.subject) "
        "AND NOT EXISTS (SELECT FROM tollgate.api_keys k WHERE c.kind = 'key' AND k.id = c.subject "
        "AND k.hash = c.hash) GROUP BY kind, subject, hash ORDER BY kind, subject",
        0, NULL, fn, arg);
}

/* ---- leases ---- */

enum status feed_leases_unsettled(struct feed *p, const char *node, const char *tenant, feed_lease_fn *fn, void *arg)
{
    static const char sql[] =
        "SELECT tenant_id, limit_key, tollgate.us(starts_at) FROM tollgate.leases_unsettled($1::uuid, $2)";
    struct db_rows *rows;
    enum status s;

    if ((s = db_query(p->db, sql, DB_WITH(node, tenant), &rows)) != STATUS_OK)
        return s;
    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        struct feed_lease l = {db_text(rows, i, 0), db_text(rows, i, 1), db_int(rows, i, 2)};

        s = fn(arg, &l);
    }
    db_rows_free(rows);
    return s;
}

enum status feed_lease_step(struct feed *p, const char *node, const struct feed_lease *l,
                            const struct feed_lease_step *step, int64_t *epoch, int64_t *granted)
{
    static const char sql[] =
        "SELECT epoch, (granted * 1000000)::bigint FROM tollgate.lease($1, $2, to_timestamp($3::bigint / 1000000) + "
        "$3::bigint % 1000000 * interval '1 microsecond', $4::uuid, $5::numeric / 1000000, $6::numeric / 1000000, "
        "$7::bigint, $8::numeric / 1000000)";
    struct db_rows *rows;
    enum status s = db_run(p->db, sql,
                           DB_WITH(l->tenant, l->limit_key, DB_INT(l->start_us), node, DB_INT(step->ceiling),
                                   DB_INT(step->unleased), DB_INT(step->settled), DB_INT(step->back)),
                           &rows);

    *granted = 0;
    if (s == STATUS_OK) {
        *epoch = db_int(rows, 0, 0);
        *granted = db_int(rows, 0, 1);
        db_rows_free(rows);
    }
    return s;
}
