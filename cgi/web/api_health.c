/* api_health.c: is the process alive, has it all that it needs? */
#include <unistd.h>

#include "cgi/web/api.h"

void api_health_alive(struct app *app)
{
    struct json_object *document = json_object_new_object();

    json_object_object_add(document, "status", json_object_new_string("ok"));
    response_json(app->response, 200, document);
}

static enum status database_answers(struct app *app)
{
    enum status s = db_begin(app->db, NULL);

    if (s != STATUS_OK)
        return db_other_version(app->db) ? STATUS_VERSION : s;
    return db_commit(app->db);
}

static enum status table_answers(struct app *app)
{
    enum status s = app_table_open(app);

    return s == STATUS_OK && !limit_table_is_ready(app->table) ? STATUS_UNAVAILABLE : s;
}

static enum status spool_answers(struct app *app)
{
    struct spool_node node;
    enum status s = spool_node_load(app->config->paths.spool_dir, false, &node);

    return s == STATUS_OK && access(app->config->paths.spool_dir, W_OK) != 0 ? STATUS_IO : s;
}

void api_health_ready(struct app *app)
{
    const struct {
        const char *name;
        enum status (*answers)(struct app *app);
    } parts[] = {{"database", database_answers}, {"limit_table", table_answers}, {"spool", spool_answers}};
    struct json_object *document = json_object_new_object(), *missing = json_object_new_array();

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        enum status s = parts[i].answers(app);

        json_object_object_add(document, parts[i].name, json_object_new_string(status_text(s)));
        if (s != STATUS_OK)
            json_object_array_add(missing, json_object_new_string(parts[i].name));
    }
    if (json_object_array_length(missing) == 0) {
        json_object_object_add(document, "status", json_object_new_string("ready"));
        json_object_put(missing);
        response_json(app->response, 200, document);
        return;
    }
    response_header(app->response, "Retry-After", "5");
    json_object_object_add(document, "error", json_object_new_string("Something is missing"));
    json_object_object_add(document, "code", json_object_new_string("not_ready"));
    json_object_object_add(document, "missing", missing);
    response_json(app->response, 503, document);
}
