/* config_print.c: the table of keys as a reference and as a file to start from */
#include <inttypes.h>
#include <string.h>

#include "lib/base/config.h"
#include "lib/base/config_table.h"

#define SAMPLE_COLUMNS 100

const char *config_type_text(const struct config_key *k, char out[CONFIG_TYPE_SIZE])
{
    switch (k->type) {
    case TYPE_INTEGER:
        if (k->most == INT64_MAX)
            snprintf(out, CONFIG_TYPE_SIZE, "a whole number, %" PRId64 " or more", k->least);
        else
            snprintf(out, CONFIG_TYPE_SIZE, "a whole number from %" PRId64 " to %" PRId64, k->least, k->most);
        break;
    case TYPE_BOOLEAN:
        snprintf(out, CONFIG_TYPE_SIZE, "true or false");
        break;
    case TYPE_CHOICE:
        snprintf(out, CONFIG_TYPE_SIZE, "one of %s", k->choices);
        break;
    case TYPE_LIST:
        snprintf(out, CONFIG_TYPE_SIZE, "up to %" PRId64 " values, comma-separated", k->most);
        break;
    default:
        snprintf(out, CONFIG_TYPE_SIZE, "text");
    }
    return out;
}

void config_print_reference(FILE *to)
{
    const char *section = "";

    for (size_t i = 0; i < config_n_keys; i++) {
        char type[CONFIG_TYPE_SIZE];
        const struct config_key *k = &config_keys[i];

        if (strcmp(section, k->section) != 0) {
            section = k->section;
            fprintf(to, "\n## [%s]\n\n| key | value | default | |\n| --- | --- | --- | --- |\n", section);
        }
        config_type_text(k, type);
        for (char *p = type; *p; p++)
            if (*p == '|')
                *p = ','; /* a bar would end the table's cell */
        fprintf(to, "| `%s` | %s | %s%s%s | %s |\n", k->key, type, *k->fallback ? "`" : "",
                *k->fallback ? k->fallback : "empty", *k->fallback ? "`" : "", k->sentence);
    }
}

/* `text` as comment lines of at most SAMPLE_COLUMNS, broken at blanks. */
static void print_comment(FILE *to, const char *text)
{
    while (*text) {
        size_t n = strlen(text), room = SAMPLE_COLUMNS - 2;

        if (n > room) {
            for (n = room; n > 0 && text[n] != ' ';)
                n--;
            if (n == 0)
                n = strcspn(text, " ");
        }
        fprintf(to, "# %.*s\n", (int)n, text);
        text += n + strspn(text + n, " ");
    }
}

void config_print_sample(FILE *to)
{
    const char *section = "";

    fprintf(to, "# tollgate.conf: every key at its default. `tollgate config` describes them;\n"
                "# `tollgate config --check` reads this file and names what is wrong in it.\n");
    for (size_t i = 0; i < config_n_keys; i++) {
        char type[CONFIG_TYPE_SIZE], comment[1024];
        const struct config_key *k = &config_keys[i];

        if (strcmp(section, k->section) != 0) {
            section = k->section;
            fprintf(to, "\n[%s]\n", section);
        }
        snprintf(comment, sizeof(comment), "%s (%s)", k->sentence, config_type_text(k, type));
        print_comment(to, comment);
        fprintf(to, "#%s =%s%s\n", k->key, *k->fallback ? " " : "", k->fallback);
    }
    fprintf(to, "\n[backends]\n");
    print_comment(
        to, "/path = address: the service behind the gate that answers this path and all below it; the longest path "
            "wins. http://host:port, http:unix:/socket, fastcgi://host:port or fastcgi:unix:/socket. `tollgate "
            "config lighttpd` (or apache, nginx) makes the web server's configuration of them.");
    fprintf(to, "#/api/orders = http://127.0.0.1:9000\n");
    fprintf(to, "\n[rules]\n# METHOD /path = metric: such a call also counts as an event of that metric.\n"
                "#POST /api/files = file_upload, storage_used_gb\n");
}
