/* setup_first.c: of tollgate setup: the first operator, tier, tenant and key */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "cli/setup.h"
#include "lib/base/password.h"
#include "lib/store/accounts.h"
#include "lib/store/db.h"
#include "lib/store/keys.h"
#include "lib/store/tenants.h"
#include "lib/store/tiers.h"

/* ---- the first operator ---- */

/* Is there an operator already, and is `email` (may be NULL) somebody's? */
static int find_accounts(struct setup *s, bool *operator_there, bool *email_taken)
{
    struct db_rows *rows = NULL;
    enum status st;

    *operator_there = *email_taken = false;
    if (cli_begin(s->c))
        return CLI_FAILED;
    if ((st = accounts_list(s->c->db, NULL, &rows)))
        return cli_fail(s->c, st, "the accounts can't be listed");
    for (size_t i = 0; i < db_count(rows); i++) {
        *operator_there = *operator_there || db_null(rows, i, 1);
        *email_taken = *email_taken || (s->email && strcasecmp(db_text(rows, i, 0), s->email) == 0);
    }
    db_rows_free(rows);
    db_rollback(s->c->db);
    return CLI_OK;
}

static enum status make_hash(struct setup *s, char hash[PASSWORD_HASH_SIZE])
{
    unsigned char bytes[SETUP_PASSWORD_BYTES];
    enum status st;

    if (s->password_stdin || isatty(STDIN_FILENO))
        return cli_ask_hash(s->c->config, s->password_stdin, s->email, hash);
    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2base64(s->password, sizeof(s->password), bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof(bytes));
    if ((st = password_hash(s->c->config, s->password, hash)))
        cli_say("there is not enough memory to hash the password (web.password_memory_kib)");
    return st;
}

int setup_operator(struct setup *s)
{
    static char typed[256];
    char hash[PASSWORD_HASH_SIZE];
    bool there, taken;
    enum status st;
    int result = find_accounts(s, &there, &taken);

    if (result)
        return result;
    if (taken || (there && !s->email)) {
        setup_step("%s.", taken ? "This account exists already" : "There is an operator already");
        s->email = NULL;
        return CLI_OK;
    }
    if (!s->email && setup_ask("E-mail address of the first operator (empty: none now): ", typed, sizeof(typed)))
        s->email = typed;
    if (!s->email) {
        setup_step("No operator is created: none was named with --operator-email.");
        return CLI_OK;
    }
    if (!cli_is_email(s->email))
        return CLI_USAGE;
    setup_step("Creating the operator %s.", s->email);
    if (make_hash(s, hash) || cli_begin(s->c))
        return CLI_FAILED;
    if ((st = accounts_create(s->c->db, s->email, NULL, "operator", hash)))
        return cli_fail(s->c, st, "the operator was not created");
    if (cli_commit(s->c))
        return CLI_FAILED;
    s->made_operator = true;
    return CLI_OK;
}

/* ---- the first tier, tenant and key ---- */

/* How many rows a list has, and whether one's first column is `id`. */
static enum status look_for(enum status listed, struct db_rows *rows, const char *id, bool *there, bool *others)
{
    *there = *others = false;
    if (listed)
        return listed;
    for (size_t i = 0; i < db_count(rows); i++)
        if (strcmp(db_text(rows, i, 0), id) == 0)
            *there = true;
        else
            *others = true;
    db_rows_free(rows);
    return STATUS_OK;
}

static bool has_active_key(struct db *d, const char *tenant)
{
    enum { STATE = 7 };
    struct db_rows *rows = NULL;
    bool active = false;

    if (keys_list(d, tenant, &rows))
        return false;
    for (size_t i = 0; i < db_count(rows); i++)
        active = active || strcmp(db_text(rows, i, STATE), "active") == 0;
    db_rows_free(rows);
    return active;
}

static enum status add_tier(struct setup *s)
{
    struct db_rows *rows = NULL;
    enum status st = tiers_list(s->c->db, &rows);
    bool there, others;

    if ((st = look_for(st, rows, s->tier, &there, &others)))
        return st;
    if (there) {
        setup_step("The tier %s exists already.", s->tier);
        return STATUS_OK;
    }
    setup_step("Creating the tier %s: %s.", s->tier, s->limit);
    if (!(st = tiers_create(s->c->db, s->tier, s->tier)))
        st = cli_set_limits(s->c, s->tier, s->limits);
    s->made_tier = !st;
    return st;
}

static enum status add_tenant(struct setup *s, bool there)
{
    struct tenant_values v = {.name = s->tenant_name, .tier = s->tier};
    char full[CAPACITY_TEXT];
    enum status st;

    if (there) {
        setup_step("The tenant %s exists already.", s->tenant);
        return STATUS_OK;
    }
    setup_step("Creating the tenant %s on the tier %s.", s->tenant, s->tier);
    if ((st = tenant_create(s->c->db, s->tenant, &v, full)) == STATUS_LIMIT)
        cli_say("%s", full);
    s->made_tenant = !st;
    return st;
}

static enum status add_key(struct setup *s)
{
    char id[APIKEY_ID_SIZE];
    enum status st;

    if (has_active_key(s->c->db, s->tenant)) {
        setup_step("The tenant %s has a key already; `tollgate key create NAME --tenant %s` creates another.",
                   s->tenant, s->tenant);
        return STATUS_OK;
    }
    setup_step("Creating a key for the tenant %s.", s->tenant);
    if ((st = apikey_make(s->key, id)))
        return st;
    return cli_store_key(s->c, s->key, id, "first key", s->tenant, "call,track,read", NULL);
}

int setup_tenant(struct setup *s)
{
    struct db_rows *rows = NULL;
    bool asked = s->tenant, tier_asked = s->tier, owns, there, others;
    enum status st;

    if (!asked)
        s->tenant = "example";
    if (!s->tier)
        s->tier = "starter";
    if (cli_begin(s->c))
        return CLI_FAILED;
    if ((st = tenant_owns(s->c->db, &owns)))
        return cli_fail(s->c, st, "the tenants can't be listed");
    st = tenant_list(s->c->db, &rows);
    if ((st = look_for(st, rows, s->tenant, &there, &others)))
        return cli_fail(s->c, st, "the tenants can't be listed");
    if (!owns || (!asked && !tier_asked && !there && others)) {
        setup_step(owns ? "There are tenants already; name a new one with --tenant to create it."
                        : "Your service creates the tenants; create a key for one with `tollgate key create`.");
        db_rollback(s->c->db);
        return CLI_OK;
    }
    if (((!there || tier_asked) && (st = add_tier(s))) || (st = add_tenant(s, there)) || (st = add_key(s)))
        return cli_fail(s->c, st, "tier, tenant and key were not created");
    return cli_commit(s->c) ? CLI_FAILED : CLI_OK;
}
