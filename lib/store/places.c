/* places.c: where the tenants' files are, and how much was measured there */
#include "lib/store/places.h"

#include <stdlib.h>
#include <string.h>

void places_free(struct place *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].tenant);
        free(list[i].path);
    }
    free(list);
}

static enum status read_places(struct db_rows *rows, struct place **list, size_t *n)
{
    size_t count = db_count(rows);
    struct place *places = calloc(count + 1, sizeof(*places));
    enum status s = places ? STATUS_OK : STATUS_NO_MEMORY;

    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        places[i].tenant = strdup(db_text(rows, i, 0));
        places[i].path = strdup(db_text(rows, i, 1));
        if (!places[i].tenant || !places[i].path)
            s = STATUS_NO_MEMORY;
    }
    db_rows_free(rows);
    if (s != STATUS_OK) {
        if (places)
            places_free(places, count);
        return s;
    }
    *list = places;
    *n = count;
    return STATUS_OK;
}

enum status places_list(struct db *d, const char *after, int max, struct place **list, size_t *n)
{
    static const char sql[] =
        "SELECT tenant_id, coalesce(storage_path, tenant_id) FROM tollgate.tenant_settings WHERE tenant_id > $1 "
        "ORDER BY tenant_id LIMIT $2::integer";
    struct db_rows *rows;
    enum status s = db_run(d, sql, DB_WITH(after, DB_INT(max)), &rows);

    return s == STATUS_OK ? read_places(rows, list, n) : s;
}

enum status places_of(struct db *d, const char *tenant, struct place **list, size_t *n)
{
    static const char sql[] =
        "SELECT tenant_id, coalesce(storage_path, tenant_id) FROM tollgate.tenant_settings WHERE tenant_id = $1";
    struct db_rows *rows;
    enum status s = db_run(d, sql, DB_WITH(tenant), &rows);

    if (s == STATUS_OK)
        s = read_places(rows, list, n);
    if (s == STATUS_OK && *n == 0) {
        places_free(*list, 0);
        s = STATUS_NOT_FOUND;
    }
    return s;
}

enum status places_put(struct db *d, const char *tenant, int64_t bytes)
{
    return db_run(d, "SELECT tollgate.put_storage($1, $2::bigint)", DB_WITH(tenant, DB_INT(bytes)), NULL);
}
