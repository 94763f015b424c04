/* table.c: rows on standard output, aligned for people or as JSON */
#include "cli/table.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/clock.h"
#include "lib/base/json_write.h"

void table_init(struct table *t, const struct table_column columns[])
{
    *t = (struct table){.columns = columns};
    while (columns[t->n_columns].key)
        t->n_columns++;
}

void table_cell(struct table *t, const char *text)
{
    char *copy = NULL;

    if (t->failed)
        return;
    if (t->n_cells == t->capacity) {
        size_t more = t->capacity ? t->capacity * 2 : 64;
        char **grown = realloc(t->cells, more * sizeof(*grown));

        if (!grown) {
            t->failed = true;
            return;
        }
        t->cells = grown;
        t->capacity = more;
    }
    if (text && !(copy = strdup(text))) {
        t->failed = true;
        return;
    }
    t->cells[t->n_cells++] = copy;
}

void table_count(struct table *t, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, n);
    table_cell(t, text);
}

void table_time(struct table *t, int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(text, us, 0, 1);
    table_cell(t, text);
}

static int term(struct table *t, int result)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){0};
    if (fflush(stdout) != 0) {
        cli_say("standard output can't be written");
        return CLI_FAILED;
    }
    return result;
}

/* Columns that a terminal shows: bytes that do not continue a UTF-8 character. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Control characters could drive the terminal: they become "?". */
static void put_clean(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void put_padded(const char *text, size_t width, bool right, bool last)
{
    size_t pad = width - width_of(text);

    if (right)
        printf("%*s", (int)pad, "");
    put_clean(text);
    if (!right && !last)
        printf("%*s", (int)pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

static const char *shown(const char *cell)
{
    return cell && *cell ? cell : "-";
}

static void print_aligned(const struct table *t)
{
    size_t width[TABLE_COLUMNS] = {0}, rows = t->n_cells / t->n_columns;

    for (size_t c = 0; c < t->n_columns; c++) {
        width[c] = width_of(t->columns[c].title);
        for (size_t r = 0; r < rows; r++) {
            size_t w = width_of(shown(t->cells[r * t->n_columns + c]));

            width[c] = w > width[c] ? w : width[c];
        }
    }
    for (size_t c = 0; c < t->n_columns; c++)
        put_padded(t->columns[c].title, width[c], t->columns[c].kind == TABLE_NUMBER, c + 1 == t->n_columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < t->n_columns; c++)
            put_padded(shown(t->cells[r * t->n_columns + c]), width[c], t->columns[c].kind == TABLE_NUMBER,
                       c + 1 == t->n_columns);
}

static struct json_object *array_of(const char *list)
{
    struct json_object *array = json_object_new_array();

    for (size_t n; array && *list; list += n + (list[n] == ',')) {
        n = strcspn(list, ",");
        json_object_array_add(array, json_object_new_string_len(list, (int)n));
    }
    return array;
}

static struct json_object *value_of(enum table_kind kind, const char *cell)
{
    struct json_object *parsed;
    char *fitting;

    if (!cell)
        return NULL;
    switch (kind) {
    case TABLE_BOOLEAN:
        return json_object_new_boolean(strcmp(cell, "t") == 0 || strcmp(cell, "true") == 0 || strcmp(cell, "yes") == 0);
    case TABLE_LIST:
        return array_of(cell);
    case TABLE_NUMBER:
    case TABLE_JSON:
        fitting = json_fit_numbers(cell);
        parsed = fitting ? json_tokener_parse(fitting) : NULL;
        free(fitting);
        return parsed ? parsed : json_object_new_string(cell);
    default:
        return json_object_new_string(cell);
    }
}

static struct json_object *row_object(const struct table *t, size_t row)
{
    struct json_object *o = json_object_new_object();

    for (size_t c = 0; o && c < t->n_columns; c++)
        json_object_object_add(o, t->columns[c].key, value_of(t->columns[c].kind, t->cells[row * t->n_columns + c]));
    return o;
}

static int print_json(struct json_object *value)
{
    const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    int result = CLI_FAILED;

    if (text && puts(text) >= 0)
        result = CLI_OK;
    json_object_put(value);
    return result;
}

int table_print(struct table *t, bool json)
{
    struct json_object *all;

    if (t->failed) {
        cli_say("out of memory");
        return term(t, CLI_FAILED);
    }
    if (!json) {
        print_aligned(t);
        return term(t, CLI_OK);
    }
    all = json_object_new_array();
    for (size_t r = 0; r < t->n_cells / t->n_columns; r++)
        json_object_array_add(all, row_object(t, r));
    return term(t, print_json(all));
}

int table_print_one(struct table *t, bool json)
{
    size_t width = 0;

    if (t->failed || t->n_cells < t->n_columns) {
        cli_say(t->failed ? "out of memory" : "nothing to show");
        return term(t, CLI_FAILED);
    }
    if (json)
        return term(t, print_json(row_object(t, 0)));
    for (size_t c = 0; c < t->n_columns; c++)
        width = width_of(t->columns[c].title) > width ? width_of(t->columns[c].title) : width;
    for (size_t c = 0; c < t->n_columns; c++) {
        put_padded(t->columns[c].title, width, false, false);
        put_padded(shown(t->cells[c]), width_of(shown(t->cells[c])), false, true);
    }
    return term(t, CLI_OK);
}
