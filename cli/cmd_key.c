/* cmd_key.c: tollgate key: programs' keys; a key's text is shown once, when it is made */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/meter/apikey.h"
#include "lib/store/keys.h"

static const struct table_column columns[] = {
    {"id", "id", TABLE_TEXT},
    {"name", "name", TABLE_TEXT},
    {"tenant_id", "tenant", TABLE_TEXT},
    {"scopes", "scopes", TABLE_LIST},
    {"created_at", "created", TABLE_TEXT},
    {"expires_at", "expires", TABLE_TEXT},
    {"last_used_at", "used", TABLE_TEXT},
    {"state", "state", TABLE_TEXT},
    {0},
};
static const struct table_column made_columns[] = {{"id", "id", TABLE_TEXT}, {"key", "key", TABLE_TEXT}, {0}};

/* A list of known scopes; says what is wrong. */
static bool scopes_fit(const char *list)
{
    static const char *const known[] = {"call", "track", "read", "admin"};

    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ","), i = 0;

        while (i < 4 && (strlen(known[i]) != n || memcmp(known[i], at, n) != 0))
            i++;
        if (i == 4) {
            cli_say("--scopes is \"%s\"; it must be call, track, read and admin, comma-separated", list);
            return false;
        }
        at += n;
        if (!*at)
            return true;
    }
}

/* The key's text: a new one, or one line of standard input (a demo's token). */
static enum status make_text(bool from_stdin, char text[APIKEY_MAX + 2], char id[APIKEY_ID_SIZE])
{
    char made[APIKEY_TEXT_SIZE];
    enum status s = apikey_make(made, id);

    if (!s && !from_stdin)
        memcpy(text, made, sizeof made);
    sodium_memzero(made, sizeof made);
    if (s || !from_stdin)
        return s;
    if (!fgets(text, APIKEY_MAX + 2, stdin))
        text[0] = 0;
    text[strcspn(text, "\r\n")] = 0;
    return text[0] ? STATUS_OK : STATUS_INVALID;
}

static enum status store_key(struct cli *c, const char *text, const char *id, const char *name, const char *tenant,
                             const char *scopes, const char *expires)
{
    unsigned char hash[APIKEY_HASH_BYTES];
    char hex[KEYS_HASH_TEXT];
    enum status s = apikey_hash(text, strlen(text), hash);

    if (s)
        return s;
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    return keys_create(c->db, id, hex, name, tenant, scopes, expires);
}

/* Shows the new key, the only time; one given on standard input is not repeated. */
static int show_new(struct cli *c, const char *id, const char *text)
{
    struct table t;

    if (text && !c->json)
        fprintf(stderr, "Keep the key now: it is not stored and can't be shown again.\n");
    table_init(&t, made_columns);
    table_cell(&t, id);
    table_cell(&t, text);
    return table_print_one(&t, c->json);
}

int cmd_key_create(struct cli *c, int argc, char *argv[])
{
    const char *name, *tenant = NULL, *scopes = NULL, *expires = NULL;
    bool operator_key = false, from_stdin = false;
    const struct cli_option options[] = {{"tenant", &tenant, NULL},        {"scopes", &scopes, NULL},
                                         {"expires", &expires, NULL},      {"operator", NULL, &operator_key},
                                         {"key-stdin", NULL, &from_stdin}, {0}};
    char text[APIKEY_MAX + 2], id[APIKEY_ID_SIZE];
    int result = CLI_FAILED;
    enum status s;

    if (cli_parse(argc, argv, options, &name, 1, 1) || (scopes && !scopes_fit(scopes)))
        return CLI_USAGE;
    if (operator_key == (tenant != NULL) || (operator_key && scopes)) {
        cli_say("say either --tenant ID, with scopes, or --operator: an operator's key has all scopes");
        return CLI_USAGE;
    }
    if (!scopes)
        scopes = operator_key ? "call,track,read,admin" : "call,track,read";
    if (make_text(from_stdin, text, id)) {
        cli_say("no key was made; with --key-stdin it is one line of at most %d bytes", APIKEY_MAX);
        return CLI_FAILED;
    }
    if (cli_begin(c))
        goto done;
    s = store_key(c, text, id, name, tenant, scopes, expires);
    if (s)
        result = cli_fail(c, s, "the key was not made");
    else if (!cli_commit(c))
        result = show_new(c, id, from_stdin ? NULL : text);
done:
    sodium_memzero(text, sizeof text);
    return result;
}

int cmd_key_list(struct cli *c, int argc, char *argv[])
{
    return cli_list_of(c, argc, argv, keys_list, columns, "the keys can't be listed");
}

int cmd_key_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, keys_show, columns);
}

int cmd_key_change(struct cli *c, int argc, char *argv[])
{
    const char *id, *name = NULL, *scopes = NULL, *expires = NULL;
    const struct cli_option options[] = {
        {"name", &name, NULL}, {"scopes", &scopes, NULL}, {"expires", &expires, NULL}, {0}};

    if (cli_parse(argc, argv, options, &id, 1, 1) || (scopes && !scopes_fit(scopes)))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, keys_change(c->db, id, name, scopes, expires), id, "The key is changed.", id);
}

int cmd_key_remove(struct cli *c, int argc, char *argv[])
{
    char what[512];
    const char *id;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &id, 1, 1))
        return CLI_USAGE;
    snprintf(what, sizeof what, "The key %.255s is refused from now on.", id);
    if (!cli_confirm(c, what, id))
        return CLI_REFUSED;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, keys_revoke(c->db, id), id, "The key is revoked.", id);
}
