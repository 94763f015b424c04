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

#define ALL_SCOPES "call,track,read,admin,metrics"

/* A list of known scopes; says what is wrong. */
static bool scopes_fit(const char *list)
{
    static const char *const known[] = {"call", "track", "read", "admin", "metrics"};
    const size_t most = sizeof(known) / sizeof(known[0]);

    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ","), i = 0;

        while (i < most && (strlen(known[i]) != n || memcmp(known[i], at, n) != 0))
            i++;
        if (i == most) {
            cli_say("--scopes is \"%s\"; it must be some of call, track, read, admin and metrics, comma-separated",
                    list);
            return false;
        }
        at += n;
        if (!*at)
            return true;
    }
}

/* The bits that each character of `text` can hold at most, by the kinds of characters that stand in it. */
static double bits_each(const char *text)
{
    static const char digits[] = "0123456789";
    size_t length = strlen(text);

    if (strspn(text, digits) == length)
        return 3.32;
    if (strspn(text, "0123456789abcdef") == length || strspn(text, "0123456789ABCDEF") == length)
        return 4;
    if (strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz") == length ||
        strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length)
        return 5.17;
    return 6; /* base64 */
}

/* Does `text` repeat a part of its own, or few characters? */
static bool is_repetitive(const char *text)
{
    size_t length = strlen(text), distinct = 0;

    for (size_t i = 0; i < length; i++)
        distinct += !memchr(text, text[i], i);
    for (size_t part = 1; part <= length / 2; part++)
        if (memcmp(text, text + part, length - part) == 0)
            return true;
    return distinct < 8;
}

/* Whoever guesses a key has it: one that somebody chose has to have 128 bits, as far as its characters tell. */
static bool is_strong(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
            return false;
    return (double)strlen(text) * bits_each(text) >= 128 && !is_repetitive(text);
}

/* The key's text: a new one, or one line of standard input. */
static enum status make_text(bool from_stdin, char text[APIKEY_MAX + 2], char id[APIKEY_ID_SIZE])
{
    char made[APIKEY_TEXT_SIZE];
    enum status s = apikey_make(made, id);

    if (!s && !from_stdin)
        memcpy(text, made, sizeof(made));
    sodium_memzero(made, sizeof(made));
    if (s || !from_stdin)
        return s;
    if (!fgets(text, APIKEY_MAX + 2, stdin))
        text[0] = 0;
    text[strcspn(text, "\r\n")] = 0;
    return text[0] ? STATUS_OK : STATUS_INVALID;
}

enum status cli_store_key(struct cli *c, const char *text, const char *id, const char *name, const char *tenant,
                          const char *scopes, const char *expires)
{
    unsigned char hash[APIKEY_HASH_BYTES];
    char hex[KEYS_HASH_TEXT], full[CAPACITY_TEXT];
    enum status s = apikey_hash(text, strlen(text), hash);

    if (s)
        return s;
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    s = keys_create(c->db, id, hex, name, tenant, scopes, expires, full);
    if (s == STATUS_LIMIT)
        cli_say("%s", full);
    return s;
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

static int cmd_key_create(struct cli *c, int argc, char *argv[])
{
    const char *name, *tenant = NULL, *scopes = NULL, *expires = NULL;
    bool operator_key = false, from_stdin = false, demo = false;
    const struct cli_option options[] = {{"tenant", &tenant, NULL},
                                         {"scopes", &scopes, NULL},
                                         {"expires", &expires, NULL},
                                         {"operator", NULL, &operator_key},
                                         {"key-stdin", NULL, &from_stdin},
                                         {"demo-token", NULL, &demo}, /* demo/run.sh */
                                         {0}};
    char text[APIKEY_MAX + 2], id[APIKEY_ID_SIZE];
    int result = CLI_FAILED;
    enum status s;

    if (cli_parse(argc, argv, options, &name, 1, 1) || (scopes && !scopes_fit(scopes)))
        return CLI_USAGE;
    if (operator_key == !!tenant) {
        cli_say("say either --tenant ID or --operator");
        return CLI_USAGE;
    }
    if (tenant && !cli_tenant_id(tenant))
        return CLI_USAGE;
    if (tenant && scopes && strstr(scopes, "metrics")) {
        cli_say("the scope metrics is for an operator's key: /metrics tells of every tenant");
        return CLI_USAGE;
    }
    if (!scopes)
        scopes = operator_key ? ALL_SCOPES : "call,track,read";
    if (make_text(from_stdin, text, id)) {
        cli_say("no key was created; with --key-stdin it is one line of at most %d bytes", APIKEY_MAX);
        return CLI_FAILED;
    }
    if (from_stdin && !demo && !is_strong(text)) {
        cli_say(
            "this key is too easy to guess: give at least 128 random bits, such as 22 characters of base64 or 32 of "
            "hexadecimal; openssl rand -base64 24 makes one");
        goto done;
    }
    if (from_stdin && demo && !is_strong(text))
        fprintf(stderr, "warning: this key is easy to guess; it is for a demo alone\n");
    if (cli_begin(c))
        goto done;
    s = cli_store_key(c, text, id, name, tenant, scopes, expires);
    if (s)
        result = cli_fail(c, s, "the key was not created");
    else if (!cli_commit(c))
        result = show_new(c, id, from_stdin ? NULL : text);
done:
    sodium_memzero(text, sizeof(text));
    return result;
}

static int cmd_key_list(struct cli *c, int argc, char *argv[])
{
    return cli_list_of(c, argc, argv, keys_list, columns, "the keys can't be listed");
}

static int cmd_key_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, keys_show, columns);
}

static int cmd_key_change(struct cli *c, int argc, char *argv[])
{
    const char *id, *name = NULL, *scopes = NULL, *expires = NULL;
    const struct cli_option options[] = {
        {"name", &name, NULL}, {"scopes", &scopes, NULL}, {"expires", &expires, NULL}, {0}};

    if (cli_parse(argc, argv, options, &id, 1, 1) || (scopes && !scopes_fit(scopes)))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, keys_change(c->db, id, name, scopes, expires), id, "The key was changed.", id);
}

static int cmd_key_remove(struct cli *c, int argc, char *argv[])
{
    return cli_remove(c, argc, argv, "The key", "is refused from now on.", keys_revoke, "The key was revoked.");
}

const struct cli_command key_commands[] = {
    {"key", "create", "NAME (--tenant ID | --operator) [--scopes LIST] [--expires TIME] [--key-stdin]",
     "Create a key, which is shown once", cmd_key_create,
     "--expires is a time such as 2027-01-31T00:00:00Z or a number of days such as 90d. --scopes is a list of call, track, read,\n"
     "admin and metrics; the default is call,track,read for a tenant's key and all of them for an operator's. metrics, for\n"
     "GET /metrics, is for an operator's key only.\n"
     "--key-stdin reads a secret of your own, of at least 128 bits, from standard input instead of generating one.\n"},
    {"key", "list", "[--tenant ID]", "Keys, without their secrets", cmd_key_list, NULL},
    {"key", "show", "ID", "One key, without its secret", cmd_key_show, NULL},
    {"key", "change", "ID [--name NAME] [--scopes LIST] [--expires TIME|never]", "Change a key", cmd_key_change, NULL},
    {"key", "remove", "ID", "Revoke a key for good", cmd_key_remove, NULL},
    {0},
};
