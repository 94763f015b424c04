/* functions.c: what sql_dir/functions defines, into the database */
#include "lib/store/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/schema_version.h"
#include "lib/store/sql_files.h"

/*
 * Ours in schema tollgate; grant_schema belongs to the role that adopted the database (sql/adopt.sql), and those of sources are generated
 * (sql/functions/sources.sql).
 */
#define OUR_FUNCTIONS                                                                                       \
    "pg_catalog.pg_proc p WHERE p.pronamespace = 'tollgate'::pg_catalog.regnamespace AND p.prokind <> 'a' " \
    "AND p.proname <> 'grant_schema' AND p.proname !~ '^source_[0-9]+_'"

struct apply {
    struct db *d;
    void (*say)(const char *line);
    char *problem;
};

static enum status explain(struct apply *a, enum status s, const char *what)
{
    return sql_explain(a->d, s, what, a->problem);
}

static void say(const struct apply *a, const char *before, const char *what, const char *behind)
{
    char line[100 + 200 + 60 + 1];

    snprintf(line, sizeof(line), "%.100s%.200s%.60s", before, what, behind);
    if (a->say)
        a->say(line);
}

/* Functions that are not as they were applied: "" when the files' checksum is the database's and none differs. */
static enum status look(struct apply *a, const char *checksum, bool *same, char changed[256])
{
    static const char sql[] =
        "SELECT EXISTS (SELECT FROM tollgate.schema_migrations WHERE version = " FUNCTIONS_VERSION
        " AND checksum = $1), coalesce(left(string_agg(coalesce(f.name, s.name), ', ' ORDER BY 1), 250), '') "
        "FROM (SELECT p.oid::pg_catalog.regprocedure::text AS name, md5(pg_catalog.pg_get_functiondef(p.oid)) AS "
        "checksum "
        "FROM " OUR_FUNCTIONS ") f FULL JOIN tollgate.schema_functions s ON s.name = f.name "
        "WHERE f.checksum IS DISTINCT FROM s.checksum";
    struct db_rows *r = NULL;
    enum status s = db_query(a->d, sql, DB_WITH(checksum), &r);

    if (s != STATUS_OK)
        return explain(a, s, "functions");
    *same = db_bool(r, 0, 0);
    snprintf(changed, 256, "%s", db_text(r, 0, 1));
    db_rows_free(r);
    return STATUS_OK;
}

/* Where each function stands in pg_proc: a file that defines it moves it. */
static enum status places(struct apply *a, struct db_rows **rows)
{
    static const char rights[] =
        "DO $$ DECLARE x record; BEGIN "
        "FOR x IN SELECT p.oid::pg_catalog.regprocedure AS name FROM " OUR_FUNCTIONS " LOOP "
        "EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, tollgate_web, tollgate_collector', x.name); END LOOP; "
        "FOR x IN SELECT c.oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class c WHERE c.relnamespace IN "
        "('public'::pg_catalog.regnamespace, 'tollgate'::pg_catalog.regnamespace) AND c.relkind IN ('r', 'p', 'v') AND "
        "(pg_catalog.pg_has_role(c.relowner, 'USAGE') OR (SELECT h.preset = 'clinic' FROM tollgate.host h) AND c.relname IN "
        "('tenants', 'users', 'subscription_tiers', 'tenant_subscriptions')) LOOP "
        "EXECUTE format('REVOKE ALL ON %s FROM tollgate_web, tollgate_collector', x.name); END LOOP; END $$";
    static const char sql[] = "SELECT coalesce(string_agg(p.oid || ':' || p.ctid, ' '), '') FROM " OUR_FUNCTIONS;
    enum status s = db_script(a->d, rights);

    if (s == STATUS_OK)
        s = db_query(a->d, sql, DB_NOTHING, rows);
    return s == STATUS_OK ? s : explain(a, s, "rights of functions");
}

static enum status run_files(struct apply *a, const struct sql_files *f)
{
    enum status s = STATUS_OK;

    for (int i = 0; i < f->n && s == STATUS_OK; i++) {
        char *text = NULL;
        size_t length;

        if ((s = sql_read(f->dir, f->names[i]->d_name, &text, &length, a->problem)) == STATUS_OK &&
            (s = sql_run(a->d, text)) != STATUS_OK)
            s = explain(a, s, f->names[i]->d_name);
        free(text);
    }
    return s;
}

/* Functions that stand where they stood are defined by no file. */
static enum status drop_others(struct apply *a, const char *before)
{
    static const char sql[] = "SELECT p.oid::pg_catalog.regprocedure FROM " OUR_FUNCTIONS
                              " AND p.oid || ':' || p.ctid = ANY (string_to_array($1, ' ')) ORDER BY 1";
    struct db_rows *r = NULL;
    char drop[512];
    enum status s = db_query(a->d, sql, DB_WITH(before), &r);

    for (size_t i = 0; s == STATUS_OK && i < db_count(r); i++) {
        snprintf(drop, sizeof(drop), "DROP FUNCTION %.400s", db_text(r, i, 0));
        if ((s = db_script(a->d, drop)) == STATUS_OK)
            say(a, "dropped function ", db_text(r, i, 0), ", which no file defines");
    }
    if (s != STATUS_OK)
        s = explain(a, s, "functions that no file defines");
    db_rows_free(r);
    return s;
}

static enum status record(struct apply *a, const char *checksum)
{
    static const char functions[] =
        "DELETE FROM tollgate.schema_functions; INSERT INTO tollgate.schema_functions (name, checksum) "
        "SELECT p.oid::pg_catalog.regprocedure::text, md5(pg_catalog.pg_get_functiondef(p.oid)) FROM " OUR_FUNCTIONS;
    static const char version[] =
        "INSERT INTO tollgate.schema_migrations (version, name, checksum) VALUES (" FUNCTIONS_VERSION
        ", 'functions', $1) "
        "ON CONFLICT (version) DO UPDATE SET checksum = excluded.checksum, applied_at = now()";
    enum status s = db_script(a->d, functions);

    if (s == STATUS_OK)
        s = db_query(a->d, version, DB_WITH(checksum), NULL);
    return s == STATUS_OK ? s : explain(a, s, "functions");
}

static enum status apply_all(struct apply *a, const struct sql_files *f, const char *checksum)
{
    int64_t from = clock_mono_us();
    struct db_rows *before = NULL;
    char took[32];
    enum status s = places(a, &before);

    if (s == STATUS_OK)
        s = run_files(a, f);
    if (s == STATUS_OK)
        s = drop_others(a, db_text(before, 0, 0));
    if (s == STATUS_OK)
        s = record(a, checksum);
    if (s == STATUS_OK) {
        snprintf(took, sizeof(took), "%.1f", (double)(clock_mono_us() - from) / 1e6);
        say(a, "functions (", took, " s)");
    }
    db_rows_free(before);
    return s;
}

enum status functions_apply(struct db *d, const char *sql_dir, void (*progress)(const char *line), char problem[512])
{
    struct apply a = {d, progress, problem};
    char checksum[SQL_CHECKSUM_SIZE], changed[256] = "";
    bool same = false;
    struct sql_files f;
    enum status s = sql_files_init(&f, sql_dir, "functions", problem);

    if (s != STATUS_OK)
        return s;
    if ((s = sql_dir_checksum(sql_dir, checksum, problem)) == STATUS_OK)
        s = look(&a, checksum, &same, changed);
    if (s == STATUS_OK && same && changed[0] != '\0')
        say(&a, "applied anew, because the database has others than were applied: ", changed, "");
    if (s == STATUS_OK && strcmp(checksum, schema_version()) != 0)
        say(&a, "these are not the files that this program was built with: programs that were will wait, ", sql_dir,
            "");
    if (s == STATUS_OK && (!same || changed[0] != '\0'))
        s = apply_all(&a, &f, checksum);
    sql_files_term(&f);
    return s;
}
