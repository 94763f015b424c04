/* sql_files.c: the files of a folder of SQL */
#include "lib/store/sql_files.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/io.h"
#include "lib/store/db.h"

#define FILE_BYTES_MAX (4u << 20)

static int is_sql(const struct dirent *e)
{
    size_t n = strlen(e->d_name);

    return n > 4 && e->d_name[0] != '.' && strcmp(e->d_name + n - 4, ".sql") == 0;
}

/* By bytes, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

enum status sql_files_init(struct sql_files *f, const char *sql_dir, const char *folder, char problem[PROBLEM_SIZE])
{
    f->names = NULL;
    f->n = io_path(f->dir, sizeof(f->dir), sql_dir, folder) == STATUS_OK ? scandir(f->dir, &f->names, is_sql, by_name)
                                                                         : -1;
    if (f->n > 0)
        return STATUS_OK;
    if (f->n == 0)
        free(f->names);
    snprintf(problem, PROBLEM_SIZE,
             "%.300s has no folder %.20s with SQL files: set [paths] sql_dir to Tollgate's folder sql", sql_dir,
             folder);
    return STATUS_NOT_FOUND;
}

void sql_files_term(struct sql_files *f)
{
    for (int i = 0; i < f->n; i++)
        free(f->names[i]);
    free(f->names);
}

enum status sql_explain(const struct db *d, enum status s, const char *what, char problem[PROBLEM_SIZE])
{
    return status_say(s, problem, "%.200s: %.250s", what, db_error(d)[0] ? db_error(d) : status_text(s));
}

enum status sql_read(const char *dir, const char *name, char **text, size_t *length, char problem[PROBLEM_SIZE])
{
    char path[1300];
    enum status s = io_path(path, sizeof(path), dir, name);

    if (s == STATUS_OK)
        s = io_read_file(path, FILE_BYTES_MAX, text, length);
    if (s != STATUS_OK)
        snprintf(problem, PROBLEM_SIZE, "cannot read %.300s: %s", name, status_text(s));
    return s;
}

/* `text` with tollgate.usage_… for public.usage_…, whose key is then tollgate.tenants; NULL without memory. */
static char *in_tollgate(const char *text)
{
    static const char *const names[][2] = {{"public.usage_", "tollgate.usage_"},
                                           {"REFERENCES public.tenants", "REFERENCES tollgate.tenants"}};
    char *out = NULL;
    size_t size;
    FILE *to = open_memstream(&out, &size);

    while (to && *text) {
        size_t i = 0;

        while (i < 2 && strncmp(text, names[i][0], strlen(names[i][0])) != 0)
            i++;
        if (i < 2)
            fputs(names[i][1], to);
        else
            fputc(*text, to);
        text += i < 2 ? strlen(names[i][0]) : 1;
    }
    return to && fclose(to) == 0 ? out : NULL;
}

enum status sql_run(struct db *d, const char *text)
{
    static const char sql[] = "SELECT place = 'tollgate' FROM tollgate.host";
    char *placed = NULL;
    bool own = false;
    enum status s = db_get_bool(db_query, d, sql, DB_NOTHING, &own);

    if (s == STATUS_OK && own && !(placed = in_tollgate(text)))
        s = STATUS_NO_MEMORY;
    if (s == STATUS_OK)
        s = db_script(d, own ? placed : text);
    free(placed);
    return s;
}

static void checksum_end(crypto_generichash_state *state, char out[SQL_CHECKSUM_SIZE])
{
    unsigned char sum[16];

    crypto_generichash_final(state, sum, sizeof(sum));
    sodium_bin2hex(out, SQL_CHECKSUM_SIZE, sum, sizeof(sum));
}

void sql_checksum(const char *text, size_t length, char out[SQL_CHECKSUM_SIZE])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, 16);
    crypto_generichash_update(&state, (const unsigned char *)text, length);
    checksum_end(&state, out);
}

static enum status add_folder(crypto_generichash_state *state, const char *sql_dir, const char *folder,
                              char problem[PROBLEM_SIZE])
{
    struct sql_files f;
    enum status s = sql_files_init(&f, sql_dir, folder, problem);

    if (s != STATUS_OK)
        return s;
    for (int i = 0; i < f.n && s == STATUS_OK; i++) {
        char *text = NULL;
        size_t length;

        if ((s = sql_read(f.dir, f.names[i]->d_name, &text, &length, problem)) == STATUS_OK)
            crypto_generichash_update(state, (const unsigned char *)text, length);
        free(text);
    }
    sql_files_term(&f);
    return s;
}

enum status sql_dir_checksum(const char *sql_dir, char out[SQL_CHECKSUM_SIZE], char problem[PROBLEM_SIZE])
{
    crypto_generichash_state state;
    enum status s;

    crypto_generichash_init(&state, NULL, 0, 16);
    s = add_folder(&state, sql_dir, "schema", problem);
    if (s == STATUS_OK)
        s = add_folder(&state, sql_dir, "functions", problem);
    checksum_end(&state, out);
    return s;
}
