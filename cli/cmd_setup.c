/* cmd_setup.c: tollgate setup: from a PostgreSQL that answers to a key that works, step by step */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/as_user.h"
#include "cli/cli.h"
#include "cli/login_lines.h"
#include "lib/base/io.h"
#include "lib/base/password.h"
#include "lib/meter/apikey.h"
#include "lib/store/accounts.h"
#include "lib/store/db.h"
#include "lib/store/keys.h"
#include "lib/store/migrate.h"
#include "lib/store/provision.h"
#include "lib/store/tenant_admin.h"
#include "lib/store/tiers.h"

#define FILE_MAX ((size_t)1 << 20) /* of pg_hba.conf, roles.sql */
#define LIMITS_MOST 16
#define RELOAD_TRIES 50 /* of 100 ms, until PostgreSQL has read its files anew */
#define PASSWORD_BYTES 18

enum { WEB, COLLECTOR, OWNER, LOGINS };

/* A connection of the configuration, and the user of the system who makes it. */
struct login {
    const char *key, *conninfo, *os_user;
    struct provision_target to;
    bool works;
    char error[512];
};

struct setup {
    struct cli *c;
    struct login logins[LOGINS];
    struct db *super;
    char *super_conninfo;
    struct provision_target super_to;
    bool write_login, password_stdin;
    const char *email, *tier, *tenant, *tenant_name, *superuser;
    const char *limits[LIMITS_MOST + 1];
    /* what is shown once, at the end */
    char password[sodium_base64_ENCODED_LEN(PASSWORD_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    char key[APIKEY_TEXT_SIZE];
    bool made_operator, made_tier, made_tenant;
};

static void step(const char *format, ...) PRINTF_LIKE(1, 2);
static void step(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void show_progress(const char *line)
{
    step("  %s", line);
}

/* A line from the terminal; false when there is none, or nothing was typed. */
static bool ask(const char *question, char *out, size_t size)
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

/* ---- who connects, and where to ---- */

static const char *programs_user(const struct config *f)
{
    if (f->process.user && f->process.user[0])
        return f->process.user;
    return "tollgate";
}

static int read_logins(struct setup *s)
{
    const struct config *f = s->c->config;
    const char *programs = programs_user(f);
    char problem[512];

    s->logins[WEB] = (struct login){.key = "web", .conninfo = f->database.web, .os_user = programs};
    s->logins[COLLECTOR] = (struct login){.key = "collector", .conninfo = f->database.collector, .os_user = programs};
    s->logins[OWNER] = (struct login){.key = "owner", .conninfo = f->database.owner, .os_user = as_user_self()};
    for (size_t i = 0; i < LOGINS; i++) {
        struct login *l = &s->logins[i];

        if (provision_target(l->conninfo, &l->to, problem)) {
            cli_say("[database] %s in the configuration: %s", l->key, problem);
            return CLI_USAGE;
        }
        if (strcmp(l->to.database, s->logins[WEB].to.database) != 0) {
            cli_say("[database] web, collector and owner name different databases; they have to be one");
            return CLI_USAGE;
        }
    }
    if (s->superuser)
        s->super_conninfo = strdup(s->superuser);
    else if (provision_superuser(f->database.owner, &s->super_conninfo))
        s->super_conninfo = NULL;
    if (!s->super_conninfo) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    if (provision_target(s->super_conninfo, &s->super_to, problem)) {
        cli_say("--superuser: %s", problem);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static enum status connect_as(struct db *d, const char *os_user)
{
    enum status s;

    as_user_begin(os_user);
    s = db_connect(d);
    as_user_end();
    return s;
}

static bool try_login(struct login *l)
{
    struct db *d;

    l->works = false;
    if (db_open(l->conninfo, "tollgate", &d))
        return false;
    l->works = connect_as(d, l->to.local ? l->os_user : NULL) == STATUS_OK;
    snprintf(l->error, sizeof l->error, "%s", l->works ? "" : db_error(d));
    db_close(d);
    return l->works;
}

/* Only root can try as another; what can't be tried is taken to work. */
static bool try_logins(struct setup *s)
{
    bool all = true;

    for (size_t i = 0; i < LOGINS; i++) {
        struct login *l = &s->logins[i];

        if (!try_login(l) && geteuid() != 0 && strcmp(l->os_user, as_user_self()) != 0)
            l->works = true;
        all = all && l->works;
    }
    return all;
}

static int check_answers(struct setup *s)
{
    const struct provision_target *to = &s->logins[OWNER].to;
    const char *at = to->host[0] ? to->host : "this machine's Unix socket";

    step("Asking whether PostgreSQL answers at %s.", at);
    if (provision_answers(s->super_conninfo))
        return CLI_OK;
    cli_say(
        "PostgreSQL does not answer at %s. On this machine: apt-get install postgresql, or systemctl start postgresql. "
        "On another: name it in [database] web, collector and owner (host=...). Then run this again",
        at);
    return CLI_FAILED;
}

/* ---- the superuser's part ---- */

static int connect_superuser(struct setup *s)
{
    const char *os_user = s->super_to.local && as_user_exists(s->super_to.user) ? s->super_to.user : NULL;

    if (geteuid() != 0)
        os_user = NULL;
    step("Connecting to PostgreSQL as its superuser %s%s%s.", s->super_to.user,
         os_user ? ", as the system's user " : "", os_user ? os_user : "");
    if (db_open(s->super_conninfo, "tollgate", &s->super)) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    db_timeouts(s->super, (int)s->c->config->database.connect_timeout_s, 0);
    if (connect_as(s->super, os_user) == STATUS_OK)
        return CLI_OK;
    cli_say("%s", db_error(s->super));
    cli_say(
        "run this as root, or name a superuser who may log in from here: --superuser \"host=... user=... dbname=...\"");
    return CLI_FAILED;
}

static int super_failed(struct setup *s, const char *what, enum status why)
{
    cli_say("%s: %s", what, db_error(s->super)[0] ? db_error(s->super) : status_text(why));
    return why == STATUS_DENIED ? CLI_REFUSED : CLI_FAILED;
}

static int make_roles(struct setup *s)
{
    char path[PATH_MAX], *sql = NULL;
    size_t length;
    bool there = false;
    enum status st = provision_has_roles(s->super, &there);

    if (st == STATUS_OK && there) {
        step("The roles are there already.");
        return CLI_OK;
    }
    step("Making the roles tollgate_owner, tollgate_web, tollgate_collector and tollgate_counter.");
    if (st == STATUS_OK && (st = io_path(path, sizeof path, s->c->config->paths.sql_dir, "roles.sql")) == STATUS_OK &&
        (st = io_read_file(path, FILE_MAX, &sql, &length)) != STATUS_OK) {
        cli_say("%s can't be read: %s", path, status_text(st));
        return CLI_FAILED;
    }
    if (st == STATUS_OK)
        st = provision_make_roles(s->super, sql);
    free(sql);
    return st ? super_failed(s, "the roles were not made", st) : CLI_OK;
}

static int make_database(struct setup *s)
{
    const char *name = s->logins[OWNER].to.database;
    char owner[PROVISION_NAME];
    enum status st = provision_owner(s->super, name, owner);

    if (st == STATUS_NOT_FOUND) {
        step("Making the database %s, owned by tollgate_owner.", name);
        st = provision_make_database(s->super, name);
        return st ? super_failed(s, "the database was not made", st) : CLI_OK;
    }
    if (st)
        return super_failed(s, "the databases can't be listed", st);
    if (strcmp(owner, "tollgate_owner") == 0) {
        step("The database %s is there already.", name);
        return CLI_OK;
    }
    cli_say("the database %s belongs to %s, so it is left alone. If it is your service's, with tenants in it, run "
            "`tollgate "
            "adopt`. If it was made for Tollgate, run as superuser ALTER DATABASE \"%s\" OWNER TO tollgate_owner, then "
            "this "
            "again",
            name, owner, name);
    return CLI_REFUSED;
}

/* ---- the login ---- */

struct lines {
    char hba[512];
    char ident[LOGINS][256];
};

static bool make_lines(const struct setup *s, struct lines *out)
{
    const struct login *l = s->logins;

    for (size_t i = 0; i < LOGINS; i++) {
        if (!login_lines_plain(l[i].to.user) || !login_lines_plain(l[i].os_user))
            return false;
        snprintf(out->ident[i], sizeof out->ident[i], "%-10s %-10s %s", LOGIN_MAP, l[i].os_user, l[i].to.user);
    }
    snprintf(out->hba, sizeof out->hba, "local  %s  %s,%s,%s  peer map=%s", l[OWNER].to.database, l[WEB].to.user,
             l[COLLECTOR].to.user, l[OWNER].to.user, LOGIN_MAP);
    return login_lines_plain(l[OWNER].to.database);
}

static void print_lines(const struct lines *lines, const struct provision_files *files)
{
    step("At the end of %s:\n", files->ident);
    for (size_t i = 0; i < LOGINS; i++)
        step("  %s", lines->ident[i]);
    step("\nIn %s, before every other line that starts with local or host:\n", files->hba);
    step("  %s\n", lines->hba);
}

/* Replaces a file of PostgreSQL's with its owner's rights and its mode. `text` is freed. */
static int replace(const char *path, char *text)
{
    char real[PATH_MAX];
    struct stat st;
    enum status s = STATUS_NO_MEMORY;

    if (text && (!realpath(path, real) || stat(real, &st) < 0)) {
        s = STATUS_IO;
    } else if (text) {
        as_user_begin_id(st.st_uid);
        s = io_replace_file(real, text, strlen(text), st.st_mode & 07777);
        as_user_end();
    }
    free(text);
    if (s == STATUS_OK)
        return CLI_OK;
    cli_say("%s was not changed: %s", path, status_text(s));
    return CLI_FAILED;
}

/* Reads a file of PostgreSQL's; NULL: said. */
static char *read_text(const char *path)
{
    char *text = NULL;
    size_t length;
    enum status s = io_read_file(path, FILE_MAX, &text, &length);

    if (s == STATUS_OK)
        return text;
    cli_say("%s can't be read: %s", path, status_text(s));
    return NULL;
}

static int write_ident(const struct lines *lines, const char *path)
{
    char missing[LOGINS * 256] = "", *text = read_text(path), *with;
    size_t n = 0;

    if (!text)
        return CLI_FAILED;
    for (size_t i = 0; i < LOGINS; i++)
        if (!login_lines_has(text, lines->ident[i]))
            n += (size_t)snprintf(missing + n, sizeof missing - n, "%s%s", n ? "\n" : "", lines->ident[i]);
    with = n ? login_lines_last(text, missing) : NULL;
    free(text);
    return n ? replace(path, with) : CLI_OK;
}

static int write_hba(const struct lines *lines, const char *path)
{
    char *text = read_text(path), *with;
    bool has;

    if (!text)
        return CLI_FAILED;
    has = login_lines_has(text, lines->hba);
    with = has ? NULL : login_lines_first(text, lines->hba);
    free(text);
    return has ? CLI_OK : replace(path, with);
}

/* PostgreSQL reads its files some time after it was told to. */
static bool wait_for_logins(struct setup *s)
{
    const struct timespec pause = {.tv_nsec = 100000000};

    for (int i = 0; i < RELOAD_TRIES; i++) {
        if (try_logins(s))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static int write_lines(struct setup *s, const struct lines *lines, const struct provision_files *files)
{
    char error[512] = "";
    int result;

    step("Adding these lines to both files, and telling PostgreSQL to read them.");
    if ((result = write_ident(lines, files->ident)) || (result = write_hba(lines, files->hba)))
        return result;
    if (provision_file_error(s->super, error) == STATUS_OK && error[0]) {
        cli_say("PostgreSQL can't read its files: %s", error);
        return CLI_FAILED;
    }
    if (provision_reload(s->super)) {
        cli_say("PostgreSQL was not told to read its files: %s", db_error(s->super));
        return CLI_FAILED;
    }
    return wait_for_logins(s) ? CLI_OK : CLI_FAILED;
}

static void say_failed_logins(const struct setup *s)
{
    for (size_t i = 0; i < LOGINS; i++)
        if (!s->logins[i].works)
            cli_say("[database] %s, as the system's user %s: %s", s->logins[i].key, s->logins[i].os_user,
                    s->logins[i].error);
}

/* Over the network: passwords, which are the administrator's to choose. */
static int explain_network(const struct setup *s)
{
    say_failed_logins(s);
    step("PostgreSQL is on the network, so the roles log in with passwords. As its superuser:\n");
    for (size_t i = 0; i < LOGINS; i++)
        step("  \\password %s", s->logins[i].to.user);
    step("\nIn its pg_hba.conf, with this machine's address:\n\n  hostssl  %s  %s,%s,%s  ADDRESS  scram-sha-256\n",
         s->logins[OWNER].to.database, s->logins[WEB].to.user, s->logins[COLLECTOR].to.user, s->logins[OWNER].to.user);
    step("Put the passwords into files that [database] names with passfile=, as docs/hosting.md shows, then run this "
         "again.");
    return CLI_REFUSED;
}

/* What the server said, without where it was asked. */
static const char *first_error(const struct setup *s)
{
    const char *error = "", *fatal;

    for (size_t i = 0; i < LOGINS && !error[0]; i++)
        error = s->logins[i].error;
    fatal = strstr(error, "FATAL:  ");
    return fatal ? fatal + 8 : error;
}

static int make_logins(struct setup *s)
{
    struct provision_files files = {"pg_hba.conf", "pg_ident.conf"};
    struct lines lines;
    char answer[8];
    int result;

    step("Trying to log in as the programs do.");
    if (try_logins(s))
        return CLI_OK;
    if (!s->logins[OWNER].to.local)
        return explain_network(s);
    if (geteuid() == 0 && !as_user_exists(s->logins[WEB].os_user)) {
        cli_say("there is no user %s yet: run systemd-sysusers, then this again", s->logins[WEB].os_user);
        return CLI_FAILED;
    }
    if (!make_lines(s, &lines)) {
        cli_say("a name in [database] can't stand in pg_hba.conf as it is; docs/hosting.md shows the lines to write");
        return CLI_FAILED;
    }
    if (provision_files(s->super, &files))
        s->write_login = false;
    step("PostgreSQL does not let them in yet (%s). It will with these lines.", first_error(s));
    print_lines(&lines, &files);
    if (!s->write_login && !s->c->yes && !(ask("Add them now? [y/N] ", answer, sizeof answer) && answer[0] == 'y')) {
        step("Add them and run `systemctl reload postgresql`, then this again; or run this with --write-login.");
        return CLI_REFUSED;
    }
    if ((result = write_lines(s, &lines, &files)))
        say_failed_logins(s);
    return result;
}

/* The database as far as the schema; nothing of it needs the superuser when all is there. */
static int make_place(struct setup *s)
{
    bool roles = false;
    int result;

    if (try_logins(s) && cli_db(s->c) && provision_has_roles(s->c->db, &roles) == STATUS_OK && roles) {
        step("Roles and database are there, and the programs can log in.");
        return CLI_OK;
    }
    if ((result = connect_superuser(s)) || (result = make_roles(s)) || (result = make_database(s)))
        return result;
    return make_logins(s);
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
    step("Bringing the database to this program's schema.");
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
    unsigned char bytes[PASSWORD_BYTES];
    enum status st;

    if (s->password_stdin || isatty(STDIN_FILENO))
        return cli_ask_hash(s->c->config, s->password_stdin, hash);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2base64(s->password, sizeof s->password, bytes, sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof bytes);
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
        step("%s.", taken ? "This account is there already" : "An operator is there already");
        s->email = NULL;
        return CLI_OK;
    }
    if (!s->email && ask("E-mail address of the first operator (empty: none now): ", typed, sizeof typed))
        s->email = typed;
    if (!s->email) {
        step("No operator is made: none was named with --operator-email.");
        return CLI_OK;
    }
    if (!cli_is_email(s->email))
        return CLI_USAGE;
    step("Making the operator %s.", s->email);
    if (make_hash(s, hash) || cli_begin(s->c))
        return CLI_FAILED;
    if ((st = accounts_create(s->c->db, s->email, NULL, "operator", hash)))
        return cli_fail(s->c, st, "the operator was not made");
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
    static const char *const_limits[] = {"api_calls_per_day=1000", NULL};
    const char **limits = s->limits[0] ? s->limits : const_limits;
    struct db_rows *rows = NULL;
    enum status st = tiers_list(s->c->db, &rows);
    bool there, others;

    if ((st = look_for(st, rows, s->tier, &there, &others)))
        return st;
    if (there) {
        step("The tier %s is there already.", s->tier);
        return STATUS_OK;
    }
    step("Making the tier %s: %s%s.", s->tier, limits[0], limits[1] ? " and more" : "");
    if (!(st = tiers_create(s->c->db, s->tier, s->tier)))
        st = cli_set_limits(s->c, s->tier, limits);
    s->made_tier = !st;
    return st;
}

static enum status add_tenant(struct setup *s, bool there)
{
    struct tenant_values v = {.name = s->tenant_name, .tier = s->tier};
    enum status st;

    if (there) {
        step("The tenant %s is there already.", s->tenant);
        return STATUS_OK;
    }
    step("Making the tenant %s on the tier %s.", s->tenant, s->tier);
    st = tenant_admin_create(s->c->db, s->tenant, &v);
    s->made_tenant = !st;
    return st;
}

static enum status add_key(struct setup *s)
{
    char id[APIKEY_ID_SIZE];
    enum status st;

    if (has_active_key(s->c->db, s->tenant)) {
        step("The tenant %s has a key already; `tollgate key create NAME --tenant %s` makes another.", s->tenant,
             s->tenant);
        return STATUS_OK;
    }
    step("Making a key for the tenant %s.", s->tenant);
    if ((st = apikey_make(s->key, id)))
        return st;
    return cli_store_key(s->c, s->key, id, "first key", s->tenant, "call,track,read", NULL);
}

/* All three or none of them. */
static int make_tenant(struct setup *s)
{
    struct db_rows *rows = NULL;
    bool asked = s->tenant != NULL, owns, there, others;
    enum status st;

    if (!asked)
        s->tenant = "example";
    if (cli_begin(s->c))
        return CLI_FAILED;
    if ((st = tenant_admin_owns(s->c->db, &owns)))
        return cli_fail(s->c, st, "the tenants can't be listed");
    st = tenant_admin_list(s->c->db, &rows);
    if ((st = look_for(st, rows, s->tenant, &there, &others)))
        return cli_fail(s->c, st, "the tenants can't be listed");
    if (!owns || (!asked && !there && others)) {
        step(owns ? "Tenants are there already; name another with --tenant to make one."
                  : "The tenants are your service's: it makes them, and `tollgate key create` their keys.");
        db_rollback(s->c->db);
        return CLI_OK;
    }
    if ((!there && (st = add_tier(s))) || (st = add_tenant(s, there)) || (st = add_key(s)))
        return cli_fail(s->c, st, "tier, tenant and key were not made");
    return cli_commit(s->c) ? CLI_FAILED : CLI_OK;
}

/* ---- the end ---- */

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

    step("\nLeft to do, as root:");
    if (!gate_runs)
        step("  systemctl enable --now tollgate-collector tollgate-gate.socket tollgate-web.socket");
    if (f->n_backends == 0)
        step("  name your service in %s, [backends]: /api = http://127.0.0.1:9000", config_path(s->c->config_path));
    if (lighttpd)
        step("  tollgate config lighttpd >/etc/lighttpd/conf-available/99-tollgate.conf\n"
             "  lighttpd-enable-mod tollgate; systemctl restart lighttpd");
    if (apache)
        step("  Apache: the commands of docs/hosting.md, \"Apache\" (tollgate config apache server, and vhost)");
    if (nginx)
        step("  nginx: the commands of docs/hosting.md, \"nginx\" (tollgate config nginx http, and server)");
    if (!lighttpd && !apache && !nginx)
        step("  install lighttpd, Apache or nginx, and set it up as docs/hosting.md says under \"The web server\"");
    step("  tollgate doctor");
}

static int print_made(struct setup *s)
{
    static const struct table_column columns[] = {
        {"operator", "operator", TABLE_TEXT}, {"password", "password", TABLE_TEXT}, {"tier", "tier", TABLE_TEXT},
        {"tenant", "tenant", TABLE_TEXT},     {"key", "key", TABLE_TEXT},           {0}};
    struct table t;

    if (s->c->json || s->made_operator || s->made_tenant || s->key[0]) {
        if (s->key[0] || s->password[0])
            step("\nKeep these now: what is secret is not stored and can't be shown again.");
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

    if ((result = read_logins(s)) || (result = check_answers(s)) || (result = make_place(s)) ||
        (result = make_schema(s)) || (result = make_operator(s)))
        return result;
    result = make_tenant(s);
    if (result) /* what was made before it, and its password, is not lost */
        s->key[0] = '\0';
    if (print_made(s) && !result)
        result = CLI_FAILED;
    if (!result)
        print_left(s);
    return result;
}

/* "--limit A=1,B=2": the words between the commas, in `text`. */
static bool split_limits(char *text, const char *limits[LIMITS_MOST + 1])
{
    size_t n = 0;

    for (char *at = strtok(text, ","); at; at = strtok(NULL, ",")) {
        if (n == LIMITS_MOST) {
            cli_say("--limit takes at most %d limits", LIMITS_MOST);
            return false;
        }
        limits[n++] = at;
    }
    return cli_check_limits(limits, false) == STATUS_OK;
}

int cmd_setup(struct cli *c, int argc, char *argv[])
{
    struct setup s = {.c = c, .tier = "starter"};
    const char *limit = NULL;
    char *copy = NULL;
    const struct cli_option options[] = {{"write-login", NULL, &s.write_login},
                                         {"operator-email", &s.email, NULL},
                                         {"password-stdin", NULL, &s.password_stdin},
                                         {"tier", &s.tier, NULL},
                                         {"limit", &limit, NULL},
                                         {"tenant", &s.tenant, NULL},
                                         {"tenant-name", &s.tenant_name, NULL},
                                         {"superuser", &s.superuser, NULL},
                                         {0}};
    int result = CLI_USAGE;

    if (cli_parse(argc, argv, options, NULL, 0, 0) || (s.email && !cli_is_email(s.email)))
        return CLI_USAGE;
    if (limit && !(copy = strdup(limit))) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    if (!copy || split_limits(copy, s.limits))
        result = run(&s);
    db_close(s.super);
    free(s.super_conninfo);
    free(copy);
    sodium_memzero(s.password, sizeof s.password);
    sodium_memzero(s.key, sizeof s.key);
    return result;
}
