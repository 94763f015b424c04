/* node.c: what can be seen of this node without PostgreSQL */
#include "lib/web/node.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/meter/spool/spool.h"

#define STATUS_FILE_MAX 65536

struct json_object *node_collector(const char *run_dir)
{
    struct json_object *status = NULL;
    char path[PATH_MAX], *text = NULL;
    size_t length;

    if (io_path(path, sizeof(path), run_dir, "collector.json") == STATUS_OK &&
        io_read_file(path, STATUS_FILE_MAX, &text, &length) == STATUS_OK)
        status = json_tokener_parse(text);
    free(text);
    return status;
}

double node_number(struct json_object *status, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(status, name, &value) ? json_object_get_double(value) : 0;
}

const char *node_text(struct json_object *status, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(status, name, &value) && value ? json_object_get_string(value) : "";
}

int64_t node_time(struct json_object *status, const char *name)
{
    const char *text = node_text(status, name);
    int64_t us;

    return clock_parse_rfc3339(text, strlen(text), &us) == STATUS_OK ? us : 0;
}

double node_since(struct json_object *status, const char *name)
{
    int64_t us = node_time(status, name);

    return us ? (double)(clock_wall_us() - us) / 1e6 : -1;
}

struct json_object *node_parts(struct json_object *status, const char *list, size_t *n)
{
    struct json_object *parts;

    if (!json_object_object_get_ex(status, list, &parts) || !json_object_is_type(parts, json_type_array))
        parts = NULL;
    *n = !parts ? 0 : json_object_array_length(parts);
    return parts;
}

enum status node_spool(const char *spool_dir, uint64_t *bytes, size_t *segments)
{
    struct spool_segment *list = NULL;
    enum status s = spool_list(spool_dir, &list, segments);

    if (s != STATUS_OK)
        return s;
    *bytes = 0;
    for (size_t i = 0; i < *segments; i++)
        *bytes += list[i].bytes;
    free(list);
    return STATUS_OK;
}
