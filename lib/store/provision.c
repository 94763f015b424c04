/* provision.c: roles, database, and who may log in: before there is a schema */
#include "lib/store/provision.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const PQconninfoOption *options, const char *key)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, key) == 0)
            return options->val && options->val[0] ? options->val : NULL;
    return NULL;
}

static bool copy(char *out, size_t size, const char *text)
{
    return snprintf(out, size, "%s", text ? text : "") < (int)size;
}

enum status provision_target(const char *conninfo, struct provision_target *out, char problem[512])
{
    char *error = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &error);
    const char *user, *database, *host;
    enum status s = STATUS_INVALID;

    if (!options) {
        snprintf(problem, 512, "%.480s", error ? error : "out of memory");
        problem[strcspn(problem, "\n")] = '\0';
        PQfreemem(error);
        return STATUS_INVALID;
    }
    user = value_of(options, "user");
    database = value_of(options, "dbname");
    host = value_of(options, "host");
    if (!host && !(host = value_of(options, "hostaddr")))
        host = getenv("PGHOST");
    if (!user || !database)
        snprintf(problem, 512, "it lacks %s", user ? "dbname=" : "user=");
    else if (!copy(out->user, sizeof(out->user), user) || !copy(out->database, sizeof(out->database), database) ||
             !copy(out->host, sizeof(out->host), host))
        snprintf(problem, 512, "a name in it is too long");
    else
        s = STATUS_OK;
    out->local = !host || !host[0] || host[0] == '/';
    PQconninfoFree(options);
    return s;
}

/* Appends key='value', quoted as libpq reads it. */
static void put(FILE *to, const char *key, const char *value)
{
    fprintf(to, " %s='", key);
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            fputc('\\', to);
        fputc(*value, to);
    }
    fputc('\'', to);
}

enum status provision_superuser(const char *conninfo, char **out)
{
    static const char *const same[] = {"host", "hostaddr", "port", "sslmode", "sslrootcert", "connect_timeout"};
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    size_t size;
    FILE *to;

    if (!options)
        return STATUS_INVALID;
    to = open_memstream(out, &size);
    if (to) {
        fputs("user=postgres dbname=postgres", to);
        for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
            if (value_of(options, same[i]))
                put(to, same[i], value_of(options, same[i]));
    }
    PQconninfoFree(options);
    return to && fclose(to) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

bool provision_answers(const char *conninfo)
{
    return PQping(conninfo) == PQPING_OK;
}

enum status provision_has_roles(struct db *d, bool *yes)
{
    static const char sql[] =
        "SELECT CASE WHEN count(*) = 4 THEN pg_has_role('tollgate_owner', 'tollgate_counter', 'MEMBER') ELSE false END "
        "FROM pg_roles WHERE rolname IN ('tollgate_owner', 'tollgate_web', 'tollgate_collector', 'tollgate_counter')";

    return db_get_bool(db_peek, d, sql, DB_NOTHING, yes);
}

enum status provision_make_roles(struct db *d, const char *sql)
{
    enum status s = db_begin(d, NULL);

    if (s == STATUS_OK && (s = db_script(d, sql)) == STATUS_OK)
        return db_commit(d);
    db_rollback(d);
    return s;
}

enum status provision_owner(struct db *d, const char *database, char owner[PROVISION_NAME])
{
    static const char sql[] = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1";

    return db_get_text(db_peek, d, sql, DB_WITH(database), owner, PROVISION_NAME);
}

/* A cluster that was made without a locale has SQL_ASCII, which takes any bytes for text: then UTF-8 is asked for. */
enum status provision_make_database(struct db *d, const char *database)
{
    static const char sql[] =
        "SELECT format('CREATE DATABASE %I OWNER tollgate_owner', $1::text) || CASE WHEN pg_encoding_to_char(encoding) "
        "= 'UTF8' THEN '' ELSE ' TEMPLATE template0 ENCODING ''UTF8'' LOCALE ''C.UTF-8''' END "
        "FROM pg_database WHERE datname = 'template1'";
    char make[512];
    enum status s = db_get_text(db_peek, d, sql, DB_WITH(database), make, sizeof(make));

    return s == STATUS_OK ? db_script(d, make) : s; /* outside of a transaction */
}

enum status provision_files(struct db *d, struct provision_files *out)
{
    static const char sql[] = "SELECT current_setting('hba_file'), current_setting('ident_file')";
    struct db_rows *rows;
    enum status s = db_peek(d, sql, DB_NOTHING, &rows);

    if (s != STATUS_OK)
        return s;
    if (!copy(out->hba, sizeof(out->hba), db_text(rows, 0, 0)) ||
        !copy(out->ident, sizeof(out->ident), db_text(rows, 0, 1)))
        s = STATUS_LIMIT;
    db_rows_free(rows);
    return s;
}

enum status provision_reload(struct db *d)
{
    bool told = false;
    enum status s = db_get_bool(db_peek, d, "SELECT pg_reload_conf()", DB_NOTHING, &told);

    return s == STATUS_OK && !told ? STATUS_FAILED : s;
}

enum status provision_file_error(struct db *d, char out[512])
{
    static const char sql[] =
        "SELECT coalesce((SELECT format('pg_hba.conf, line %s: %s', line_number, error) FROM pg_hba_file_rules "
        "WHERE error IS NOT NULL LIMIT 1), (SELECT format('pg_ident.conf, line %s: %s', line_number, error) "
        "FROM pg_ident_file_mappings WHERE error IS NOT NULL LIMIT 1), '')";

    return db_get_text(db_peek, d, sql, DB_NOTHING, out, 512);
}
