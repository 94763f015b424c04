/* config_table: the table of keys, which config.c fills and reads a file against and config_print.c prints. */
#ifndef BASE_CONFIG_TABLE_H
#define BASE_CONFIG_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define CONFIG_TYPE_SIZE 256

enum config_type { TYPE_TEXT, TYPE_LIST, TYPE_INTEGER, TYPE_BOOLEAN, TYPE_CHOICE };

struct config_key {
    const char *section, *key;
    enum config_type type;
    size_t offset;        /* in struct config */
    const char *fallback; /* the default, as it would be written */
    int64_t least, most;  /* of an integer; most entries of a list */
    const char *choices;  /* of a choice: "always|interval|never", values 0, 1, 2 */
    const char *sentence;
};

extern const struct config_key config_keys[]; /* those of one section stand together */
extern const size_t config_n_keys;

/* What a key's value must be: "a whole number from 1 to 32". Returns `out`. */
const char *config_type_text(const struct config_key *k, char out[CONFIG_TYPE_SIZE]);

#endif
