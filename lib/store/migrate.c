/* migrate.c: tables by numbered files, each once; functions as their files are */
#include "lib/store/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/functions.h"
#include "lib/store/provision.h"
#include "lib/store/sql_files.h"

/* Before this numbering there were 001_tables.sql to 026_kept.sql: tables, functions and rights in turn. */
#define OLD_NUMBERING "SELECT name FROM tollgate.schema_migrations WHERE version = 1 AND name = '001_tables.sql'"

static void say(const struct migrate_options *o, const char *line)
{
    if (o->progress)
        o->progress(line);
}

static enum status run_text(struct db *d, const char *prelude, const char *sql)
{
    enum status s = db_begin(d, NULL);

    if (s == STATUS_OK)
        s = db_script(d, prelude);
    if (s == STATUS_OK)
        s = db_script(d, sql);
    if (s == STATUS_OK)
        return db_commit(d);
    db_rollback(d);
    return s;
}

/* Function bodies name temporary tables that only their callers make. */
static const char as_owner[] = "SET LOCAL ROLE tollgate_owner; SET LOCAL check_function_bodies = off; "
                               "SET LOCAL client_min_messages = warning";

static enum status run_file(struct db *d, const char *dir, const char *name, const char *prelude,
                            char problem[PROBLEM_SIZE])
{
    char *text = NULL;
    size_t length;
    enum status s = sql_read(dir, name, &text, &length, problem);

    if (s != STATUS_OK)
        return s;
    s = run_text(d, prelude, text);
    if (s != STATUS_OK)
        s = sql_explain(d, s, name, problem);
    free(text);
    return s;
}

static const char grant[] = "DO $$BEGIN EXECUTE format('GRANT CREATE, CONNECT ON DATABASE %I TO tollgate_owner', "
                            "current_database()); END$$; "
                            "GRANT USAGE, CREATE ON SCHEMA public TO tollgate_owner; "
                            "GRANT USAGE ON SCHEMA public TO tollgate_web, tollgate_collector, tollgate_counter";

/* The four roles, and the rights of tollgate_owner in this database. */
static enum status prepare_roles(struct db *d, const struct migrate_options *o, char problem[PROBLEM_SIZE])
{
    static const char rights[] = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user";
    static const char super[] = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    static const char member[] = "SELECT pg_has_role(current_user, 'tollgate_owner', 'MEMBER')";
    bool there, yes;
    enum status s = provision_has_roles(d, &there);

    if (s != STATUS_OK)
        return sql_explain(d, s, "cannot reach the database", problem);
    if (!there) {
        if ((s = db_get_bool(db_peek, d, rights, DB_NOTHING, &yes)) != STATUS_OK)
            return sql_explain(d, s, "roles", problem);
        if (!yes) {
            return status_say(
                STATUS_DENIED, problem,
                "not all of Tollgate's roles are there and this user may not make them: as superuser run psql -f "
                "%.300s/roles.sql, then this again",
                o->sql_dir);
        }
        say(o, "roles: tollgate_owner, tollgate_web, tollgate_collector, tollgate_counter");
        if ((s = run_file(d, o->sql_dir, "roles.sql", "SELECT 1", problem)) != STATUS_OK)
            return s;
    }
    if ((s = db_get_bool(db_peek, d, super, DB_NOTHING, &yes)) != STATUS_OK)
        return sql_explain(d, s, "roles", problem);
    if (yes && (s = run_text(d, "SELECT 1", grant)) != STATUS_OK)
        return sql_explain(d, s, "rights of tollgate_owner", problem);
    if ((s = db_get_bool(db_peek, d, member, DB_NOTHING, &yes)) != STATUS_OK)
        return sql_explain(d, s, "roles", problem);
    if (!yes) {
        return status_say(STATUS_DENIED, problem,
                          "the connection [database] owner must be tollgate_owner, a member of it or a superuser");
    }
    return STATUS_OK;
}

static enum status prepare_host(struct db *d, const struct migrate_options *o, char problem[PROBLEM_SIZE])
{
    static const char which[] =
        "SELECT coalesce(string_agg(n, ', '), '') FROM unnest(ARRAY['tenants', 'users', 'subscription_tiers', "
        "'tenant_subscriptions']) n WHERE to_regclass('public.' || n) IS NULL";
    static const char all[] = "tenants, users, subscription_tiers, tenant_subscriptions";
    static const char mapped[] = "SELECT to_regclass('tollgate.host') IS NOT NULL";
    char missing[128];
    bool before = false, map = false;
    enum status s = db_get_bool(db_peek, d, "SELECT to_regclass('tollgate.schema_migrations') IS NOT NULL", DB_NOTHING,
                                &before);

    if (s == STATUS_OK && before) {
        s = db_get_bool(db_peek, d, mapped, DB_NOTHING, &before);
        if (s == STATUS_OK && before &&
            db_get_bool(db_peek, d, "SELECT preset = 'map' FROM tollgate.host", DB_NOTHING, &map) == STATUS_OK && map)
            return STATUS_OK;
        before = true;
    }
    if (s == STATUS_OK)
        s = db_get_text(db_peek, d, which, DB_NOTHING, missing, sizeof(missing));
    if (s != STATUS_OK)
        return sql_explain(d, s, "host's tables", problem);
    if (missing[0] != '\0' && (before || strcmp(missing, all) != 0)) {
        return status_say(STATUS_INVALID, problem,
                          "this database lacks %s: Tollgate needs all four of the host's tables, or none", missing);
    }
    if (missing[0] != '\0' && o->host == MIGRATE_HOST_NEW) {
        say(o, "the host's tables: tenants, users, subscription_tiers, tenant_subscriptions");
        return migrate_folder(d, o, "host", problem);
    }
    if (missing[0] != '\0') {
        return status_say(STATUS_NOT_FOUND, problem,
                          "this database has no tenants: `tollgate migrate --new` makes the host's tables too");
    }
    if (!before && o->host != MIGRATE_HOST_ADOPT) {
        return status_say(STATUS_EXISTS, problem,
                          "this database has tables of its own: `tollgate adopt` lists what it would add");
    }
    if (o->host == MIGRATE_HOST_ADOPT && o->host_grants && (s = run_text(d, "SELECT 1", o->host_grants)) != STATUS_OK)
        return sql_explain(d, s, "tollgate_owner's rights on the host's tables", problem);
    return STATUS_OK;
}

enum status migrate_folder(struct db *d, const struct migrate_options *o, const char *folder,
                           char problem[PROBLEM_SIZE])
{
    char line[320];
    struct sql_files f;
    enum status s = sql_files_init(&f, o->sql_dir, folder, problem);

    if (s != STATUS_OK)
        return s;
    for (int i = 0; i < f.n && s == STATUS_OK; i++) {
        int64_t from = clock_mono_us();

        s = run_file(d, f.dir, f.names[i]->d_name, as_owner, problem);
        if (s == STATUS_OK) {
            snprintf(line, sizeof(line), "%.20s/%.200s (%.1f s)", folder, f.names[i]->d_name,
                     (double)(clock_mono_us() - from) / 1e6);
            say(o, line);
        }
    }
    sql_files_term(&f);
    return s;
}

/* The value of one row, "" when there is none, in the transaction that is open. */
static enum status value_of(struct db *d, const char *sql, const char *param, char *out, size_t size)
{
    enum status s = db_get_text(db_query, d, sql, param ? 1 : 0, &param, out, size);

    if (s == STATUS_NOT_FOUND)
        out[0] = '\0';
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

static enum status record(struct db *d, const char *version, const char *name, const char *sum)
{
    return db_query(d, "INSERT INTO tollgate.schema_migrations (version, name, checksum) VALUES ($1::int, $2, $3)",
                    DB_WITH(version, name, sum), NULL);
}

static enum status changed_file(const char *name, char problem[PROBLEM_SIZE])
{
    return status_say(
        STATUS_VERSION, problem,
        "%.200s was changed after this database ran it: restore the file and put the change into a new one", name);
}

/* One file of sql_dir/schema: runs it unless the database has it. */
static enum status one_file(struct db *d, const struct migrate_options *o, const struct sql_files *f, int i,
                            char problem[PROBLEM_SIZE])
{
    const char *name = f->names[i]->d_name;
    char version[4] = "", sum[SQL_CHECKSUM_SIZE], before[SQL_CHECKSUM_SIZE], line[320];
    int64_t from = clock_mono_us();
    char *text = NULL;
    size_t length;
    enum status s = sql_read(f->dir, name, &text, &length, problem);

    if (s != STATUS_OK)
        return s;
    snprintf(version, sizeof(version), "%.3s", name);
    sql_checksum(text, length, sum);
    s = value_of(d, "SELECT checksum FROM tollgate.schema_migrations WHERE version = $1::int", version, before,
                 sizeof(before));
    if (s != STATUS_OK || (before[0] == '\0' &&
                           ((s = sql_run(d, text)) != STATUS_OK || (s = record(d, version, name, sum)) != STATUS_OK))) {
        s = sql_explain(d, s, name, problem);
    } else if (before[0] == '\0') {
        snprintf(line, sizeof(line), "schema/%.250s (%.1f s)", name, (double)(clock_mono_us() - from) / 1e6);
        say(o, line);
    } else if (strcmp(before, sum) != 0) {
        s = changed_file(name, problem);
    }
    free(text);
    return s;
}

#define OLDEST_UPGRADED "19"

/* A database of the old numbering becomes one that ran the first file of the new one. */
static enum status upgrade(struct db *d, const struct migrate_options *o, const struct sql_files *f,
                           char problem[PROBLEM_SIZE])
{
    static const char too_old[] = "SELECT max(version) FROM tollgate.schema_migrations HAVING max(version) < $1::int";
    char found[128], sum[SQL_CHECKSUM_SIZE];
    char *sql = NULL, *first = NULL;
    size_t length;
    enum status s = value_of(d, OLD_NUMBERING, NULL, found, sizeof(found));

    if (s != STATUS_OK || found[0] == '\0')
        return s == STATUS_OK ? s : sql_explain(d, s, "schema_migrations", problem);
    if ((s = value_of(d, too_old, OLDEST_UPGRADED, found, sizeof(found))) != STATUS_OK)
        return sql_explain(d, s, "schema_migrations", problem);
    if (found[0] != '\0') {
        return status_say(
            STATUS_VERSION, problem,
            "this database is at migration %.10s, and this Tollgate brings those of migration " OLDEST_UPGRADED
            " and later up to date: install the last one that had migrations of this numbering and run its "
            "`tollgate migrate` first",
            found);
    }
    if ((s = sql_read(o->sql_dir, "upgrade.sql", &sql, &length, problem)) != STATUS_OK ||
        (s = sql_read(f->dir, f->names[0]->d_name, &first, &length, problem)) != STATUS_OK)
        goto out;
    sql_checksum(first, length, sum);
    if ((s = db_script(d, sql)) != STATUS_OK || (s = record(d, "1", f->names[0]->d_name, sum)) != STATUS_OK)
        s = sql_explain(d, s, "upgrade.sql", problem);
    else
        say(o, "upgrade.sql");
out:
    free(sql);
    free(first);
    return s;
}

static enum status refuse_newer(struct db *d, const char *newest, char problem[PROBLEM_SIZE])
{
    char version[4], found[128];
    enum status s;

    snprintf(version, sizeof(version), "%.3s", newest);
    s = value_of(d,
                 "SELECT name FROM tollgate.schema_migrations WHERE version > $1::int AND NOT EXISTS (" OLD_NUMBERING
                 ") ORDER BY version LIMIT 1",
                 version, found, sizeof(found));
    if (s != STATUS_OK)
        return sql_explain(d, s, "schema_migrations", problem);
    if (found[0] == '\0')
        return STATUS_OK;
    return status_say(STATUS_VERSION, problem,
                      "the database is newer than this program: it has %s; install the newer Tollgate", found);
}

/* What is counted from tables of the host's (sql/presets): once, so that what an operator changed or removed since stays so. */
static enum status preset(struct db *d, const struct migrate_options *o, char problem[PROBLEM_SIZE])
{
    static const char name[] = "presets/clinic.sql";
    char found[8], sum[SQL_CHECKSUM_SIZE];
    char *sql = NULL;
    size_t length;
    enum status s = value_of(
        d,
        "SELECT 'ran' FROM tollgate.schema_migrations, tollgate.host WHERE version = -1 OR preset <> 'clinic' LIMIT 1",
        NULL, found, sizeof(found));

    if (s != STATUS_OK)
        return sql_explain(d, s, "schema_migrations", problem);
    if (found[0] != '\0')
        return STATUS_OK;
    if ((s = sql_read(o->sql_dir, name, &sql, &length, problem)) != STATUS_OK)
        return s;
    sql_checksum(sql, length, sum);
    if ((s = db_script(d, sql)) != STATUS_OK || (s = record(d, "-1", name, sum)) != STATUS_OK)
        s = sql_explain(d, s, name, problem);
    free(sql);
    return s;
}

/*
 * What stands before all files: which of them the database has, and where its host's tenants are, in one row: in the specification's
 * tables (clinic), or where a mapping says. In the place tollgate the files' public.usage_… are tollgate.usage_….
 */
static const char first_tables[] =
    "CREATE SCHEMA IF NOT EXISTS tollgate; "
    "CREATE TABLE IF NOT EXISTS tollgate.schema_migrations (version integer PRIMARY KEY, name text NOT NULL, "
    "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); "
    "CREATE TABLE IF NOT EXISTS tollgate.schema_functions (name text PRIMARY KEY, checksum text NOT NULL); "
    "CREATE TABLE IF NOT EXISTS tollgate.host (one boolean PRIMARY KEY DEFAULT true CHECK (one), "
    "preset text NOT NULL DEFAULT 'clinic' CHECK (preset IN ('clinic', 'map')), "
    "place text NOT NULL DEFAULT 'public' CHECK (place IN ('public', 'tollgate')), mapping jsonb NOT NULL DEFAULT '{}'); "
    "INSERT INTO tollgate.host DEFAULT VALUES ON CONFLICT DO NOTHING";

/* Tables and functions, in the transaction that is open. */
static enum status bring_up(struct db *d, const struct migrate_options *o, const struct sql_files *f,
                            char problem[PROBLEM_SIZE])
{
    enum status s = refuse_newer(d, f->names[f->n - 1]->d_name, problem);

    if (s == STATUS_OK)
        s = upgrade(d, o, f, problem);
    for (int i = 0; i < f->n && s == STATUS_OK; i++)
        s = one_file(d, o, f, i, problem);
    if (s == STATUS_OK)
        s = preset(d, o, problem);
    return s == STATUS_OK ? functions_apply(d, o->sql_dir, o->progress, problem) : s;
}

/* In one transaction: nobody ever sees the ones without the others. */
static enum status bring_up_alone(struct db *d, const struct migrate_options *o, const struct sql_files *f,
                                  char problem[PROBLEM_SIZE])
{
    enum status s = db_begin(d, NULL);

    if (s == STATUS_OK)
        s = db_script(d, as_owner);
    if (s != STATUS_OK)
        return sql_explain(d, s, "schema tollgate", problem);
    if ((s = bring_up(d, o, f, problem)) == STATUS_OK)
        return (s = db_commit(d)) == STATUS_OK ? s : sql_explain(d, s, "commit", problem);
    db_rollback(d);
    return s;
}

/*
 * The rights on tenants' tables in an adopted database are given by the role that adopted it, or a superuser (adopt.sql), and anew
 * when such a one migrates. Before 021 they were the owner's alone: without new ones nothing could be counted, so nothing is changed.
 * In a database of the old numbering triggers on the host's tables go, which their owner alone may drop.
 */
static enum status prepare_adopted(struct db *d, const struct migrate_options *o, bool *give,
                                   char problem[PROBLEM_SIZE])
{
    static const char adopted[] =
        "SELECT CASE WHEN p.oid IS NULL THEN 'no' WHEN pg_has_role(p.proowner, 'USAGE') THEN 'give' "
        "WHEN p.prosrc LIKE '%tollgate_counter%' THEN 'given' ELSE 'lacks' END "
        "FROM (SELECT to_regprocedure('tollgate.grant_schema(text)') AS f) x LEFT JOIN pg_proc p ON p.oid = x.f";
    char answer[8], old[32] = "";
    enum status s = db_get_text(db_peek, d, adopted, DB_NOTHING, answer, sizeof(answer));

    if (s == STATUS_OK && strcmp(answer, "given") == 0)
        s = db_get_text(db_peek, d, "SELECT coalesce((" OLD_NUMBERING "), '')", DB_NOTHING, old, sizeof(old));
    if (s != STATUS_OK)
        return sql_explain(d, s, "rights on the tenants' tables", problem);
    *give = o->host == MIGRATE_HOST_ADOPT || strcmp(answer, "give") == 0;
    if ((strcmp(answer, "lacks") != 0 && old[0] == '\0') || *give)
        return STATUS_OK;
    return status_say(STATUS_DENIED, problem,
                      "this database was adopted by another role: migrate once as that role or as superuser, so that "
                      "Tollgate's rights and triggers on the host's tables are those of this version");
}

static enum status migrate_locked(struct db *d, const struct migrate_options *o, char problem[PROBLEM_SIZE])
{
    struct sql_files f;
    bool give = false;
    enum status s = sql_files_init(&f, o->sql_dir, "schema", problem);

    if (s != STATUS_OK)
        return s;
    if ((s = prepare_roles(d, o, problem)) != STATUS_OK || (s = prepare_adopted(d, o, &give, problem)) != STATUS_OK ||
        (s = prepare_host(d, o, problem)) != STATUS_OK)
        goto out;
    if ((s = run_text(d, as_owner, first_tables)) != STATUS_OK)
        s = sql_explain(d, s, "schema tollgate", problem);
    else
        s = bring_up_alone(d, o, &f, problem);
    if (s == STATUS_OK && give)
        s = run_file(d, o->sql_dir, "adopt.sql", "SELECT 1", problem);
out:
    sql_files_term(&f);
    return s;
}

enum status migrate_run(struct db *d, const struct migrate_options *o, char problem[PROBLEM_SIZE])
{
    enum status s;

    db_timeouts(d, 5, 0);
    db_expect(d, NULL);
    if ((s = db_connect(d)) != STATUS_OK)
        return sql_explain(d, s, "cannot reach the database", problem);
    if ((s = db_script(d, "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtext('tollgate.migrate'))")) != STATUS_OK)
        return sql_explain(d, s, "cannot take the lock of migrations", problem);
    s = migrate_locked(d, o, problem);
    if (s != STATUS_UNAVAILABLE &&
        db_script(d, "SELECT pg_catalog.pg_advisory_unlock(pg_catalog.hashtext('tollgate.migrate'))") != STATUS_OK)
        return s == STATUS_OK ? sql_explain(d, STATUS_UNAVAILABLE, "lost the connection at the end", problem) : s;
    return s;
}

/* One file of sql_dir, as the connecting user, in the transaction that is open. */
static enum status run_here(struct db *d, const struct migrate_options *o, const char *name, char problem[PROBLEM_SIZE])
{
    char *text = NULL;
    size_t length;
    enum status s = sql_read(o->sql_dir, name, &text, &length, problem);

    if (s != STATUS_OK)
        return s;
    if ((s = db_script(d, text)) != STATUS_OK)
        s = sql_explain(d, s, name, problem);
    free(text);
    return s;
}

enum status migrate_map(struct db *d, const struct migrate_options *o, char problem[512])
{
    static const char lock[] = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tollgate.migrate'))";
    static const char keep[] = "UPDATE tollgate.host SET preset = 'map', place = 'tollgate', "
                               "mapping = current_setting('tollgate.mapping')::jsonb";
    struct sql_files f;
    enum status s = sql_files_init(&f, o->sql_dir, "schema", problem);

    if (s != STATUS_OK)
        return s;
    if ((s = db_script(d, lock)) != STATUS_OK)
        s = sql_explain(d, s, "cannot take the lock of migrations", problem);
    else if ((s = run_here(d, o, "roles.sql", problem)) == STATUS_OK && (s = db_script(d, grant)) != STATUS_OK)
        s = sql_explain(d, s, "rights of tollgate_owner", problem);
    if (s == STATUS_OK)
        s = run_here(d, o, "map.sql", problem);
    if (s == STATUS_OK && ((s = db_script(d, as_owner)) != STATUS_OK || (s = db_script(d, first_tables)) != STATUS_OK ||
                           (s = db_script(d, keep)) != STATUS_OK))
        s = sql_explain(d, s, "schema tollgate", problem);
    if (s == STATUS_OK)
        s = bring_up(d, o, &f, problem);
    sql_files_term(&f);
    return s;
}

enum status migrate_leave(struct db *d, const struct migrate_options *o, char problem[512])
{
    return run_here(d, o, "leave.sql", problem);
}
