/*
 * table: rows on standard output, aligned for people or as JSON for scripts.
 *
 * The caller owns the struct table; cells are copied in order, row by row, and table_print frees them. A column's kind
 * decides its alignment and how --json writes it; a cell of NULL is "-" and null.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define TABLE_COLUMNS 16

/* TABLE_LIST: comma-separated, --json writes an array of strings. TABLE_JSON: the cell is JSON already ("{…}", "[…]"). */
enum table_kind { TABLE_TEXT, TABLE_NUMBER, TABLE_BOOLEAN, TABLE_LIST, TABLE_JSON };

struct table_column {
    const char *key;   /* of the JSON object: "tenant_id" */
    const char *title; /* for people: "tenant" */
    enum table_kind kind;
};

struct table {
    const struct table_column *columns; /* ends with {0} */
    size_t n_columns;
    char **cells;
    size_t n_cells, capacity;
    bool failed; /* out of memory: table_print says so */
};

void table_init(struct table *t, const struct table_column columns[]);
void table_cell(struct table *t, const char *text);
/* A number, and a time as RFC 3339. */
void table_count(struct table *t, uint64_t n);
void table_time(struct table *t, int64_t us);
/* All rows: a table, or with `json` an array of objects. Frees the cells; returns an exit status of cli.h. */
MUST_CHECK int table_print(struct table *t, bool json);
/* The first row alone, one field a line, or with `json` one object. Frees the cells. */
MUST_CHECK int table_print_one(struct table *t, bool json);

#endif
