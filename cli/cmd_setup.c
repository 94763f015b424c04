/* cmd_setup.c: tollgate setup: from a PostgreSQL that answers to a key that works, step by step */
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/setup.h"
#include "lib/base/password.h"
#include "lib/store/accounts.h"
#include "lib/store/db.h"
#include "lib/store/keys.h"
#include "lib/store/migrate.h"
#include "lib/store/tenants.h"
#include "lib/store/tiers.h"

void setup_step(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void show_progress(const char *line)
{
    setup_step("  %s", line);
}

bool setup_ask(const char *question, char *out, size_t size)
{
    if (!isatty(STDIN_FILENO))
        return false;
    setvbuf(stdin, NULL, _IONBF, 0); /* a password may follow */
    fputs(question, stderr);
    if (!fgets(out, (int)size, stdin))
        return false;
    out[strcspn(out, "\r\n")] = '\0';
    return out[0] != '\0';
}

static int make_schema(struct setup *s)
{
    struct migrate_options o = {
        .progress = show_progress, .sql_dir = s->c->config->paths.sql_dir, .host = MIGRATE_HOST_NEW};
    char problem[512] = "";
    struct db *d = cli_db(s->c);
    enum status st;

    if (!d)
        return CLI_FAILED;
    setup_step("Creating or updating the schema.");
    st = migrate_run(d, &o, problem);
    if (st == STATUS_OK)
        return CLI_OK;
    cli_say("%s", problem);
    return st == STATUS_EXISTS || st == STATUS_VERSION || st == STATUS_DENIED ? CLI_REFUSED : CLI_FAILED;
}

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

static int make_operator(struct setup *s)
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

/* Tier, tenant and key: all three or none. */
static int make_tenant(struct setup *s)
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

/* ---- the command ---- */

static bool is_installed(const char *program)
{
    return access(program, X_OK) == 0;
}

static void print_left(const struct setup *s)
{
    const struct config *f = s->c->config;
    struct stat st;
    const char *first = f->gate.listen[0];
    bool gate_runs = first && strncmp(first, "unix:", 5) == 0 && stat(first + 5, &st) == 0;
    bool lighttpd = is_installed("/usr/sbin/lighttpd"), apache = is_installed("/usr/sbin/apache2"),
         nginx = is_installed("/usr/sbin/nginx");

    setup_step("\nLeft to do, as root:");
    if (!gate_runs)
        setup_step("  systemctl enable --now tollgate-collector tollgate-gate.socket tollgate-web.socket");
    if (f->n_backends == 0)
        setup_step("  name your service in %s, [backends]: /api = http://127.0.0.1:9000",
                   config_path(s->c->config_path));
    if (lighttpd)
        setup_step("  tollgate config lighttpd >/etc/lighttpd/conf-available/99-tollgate.conf\n"
                   "  lighttpd-enable-mod tollgate; systemctl restart lighttpd");
    if (apache)
        setup_step("  Apache: the commands of docs/hosting.md, \"Apache\" (tollgate config apache server, and vhost)");
    if (nginx)
        setup_step("  nginx: the commands of docs/hosting.md, \"nginx\" (tollgate config nginx http, and server)");
    if (!lighttpd && !apache && !nginx)
        setup_step(
            "  install lighttpd, Apache or nginx, and set it up as docs/hosting.md says under \"The web server\"");
    setup_step("  tollgate doctor");
}

static int print_made(struct setup *s)
{
    static const struct table_column columns[] = {
        {"operator", "operator", TABLE_TEXT}, {"password", "password", TABLE_TEXT}, {"tier", "tier", TABLE_TEXT},
        {"tenant", "tenant", TABLE_TEXT},     {"key", "key", TABLE_TEXT},           {0}};
    struct table t;

    if (s->c->json || s->made_operator || s->made_tier || s->made_tenant || s->key[0]) {
        if (s->key[0] || s->password[0])
            setup_step("\nKeep these now: what is secret is not stored and can't be shown again.");
        table_init(&t, columns);
        table_cell(&t, s->made_operator ? s->email : NULL);
        table_cell(&t, s->password[0] ? s->password : NULL);
        table_cell(&t, s->made_tier ? s->tier : NULL);
        table_cell(&t, s->made_tenant || s->key[0] ? s->tenant : NULL);
        table_cell(&t, s->key[0] ? s->key : NULL);
        return table_print_one(&t, s->c->json);
    }
    return CLI_OK;
}

static int run(struct setup *s)
{
    int result;

    if ((result = setup_place(s)) || (result = make_schema(s)) || (result = make_operator(s)))
        return result;
    result = make_tenant(s);
    if (result) { /* the operator is made all the same, and the password is shown */
        s->key[0] = '\0';
        s->made_tier = s->made_tenant = false;
    }
    if (print_made(s) && !result)
        result = CLI_FAILED;
    if (!result)
        print_left(s);
    return result;
}

/* "--limit A=1,B=2": the words between the commas, in `text`. */
static bool split_limits(char *text, const char *limits[SETUP_LIMITS + 1])
{
    size_t n = 0;

    for (char *at = strtok(text, ","); at; at = strtok(NULL, ",")) {
        if (n == SETUP_LIMITS) {
            cli_say("--limit takes at most %d limits", SETUP_LIMITS);
            return false;
        }
        limits[n++] = at;
    }
    return cli_check_limits(limits, false) == STATUS_OK;
}

int cmd_setup(struct cli *c, int argc, char *argv[])
{
    struct setup s = {.c = c, .limit = "api_calls_per_day=1000"};
    char *copy = NULL;
    const struct cli_option options[] = {{"write-login", NULL, &s.write_login},
                                         {"operator-email", &s.email, NULL},
                                         {"password-stdin", NULL, &s.password_stdin},
                                         {"tier", &s.tier, NULL},
                                         {"limit", &s.limit, NULL},
                                         {"tenant", &s.tenant, NULL},
                                         {"tenant-name", &s.tenant_name, NULL},
                                         {"superuser", &s.superuser, NULL},
                                         {0}};
    int result = CLI_USAGE;

    if (cli_parse(argc, argv, options, NULL, 0, 0) || (s.email && !cli_is_email(s.email)))
        return CLI_USAGE;
    c->any_version = true;
    if (!(copy = strdup(s.limit))) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    if (split_limits(copy, s.limits))
        result = run(&s);
    setup_place_term(&s);
    free(copy);
    sodium_memzero(s.password, sizeof(s.password));
    sodium_memzero(s.key, sizeof(s.key));
    return result;
}
