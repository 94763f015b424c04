/* setup_place.c: of tollgate setup: roles, database, and the lines of PostgreSQL's files by which the programs log in */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/as_user.h"
#include "cli/login_lines.h"
#include "cli/setup.h"
#include "lib/base/io.h"
#include "lib/store/db.h"

#define FILE_MAX ((size_t)1 << 20) /* of pg_hba.conf, roles.sql */
#define RELOAD_TRIES 50            /* of 100 ms, until PostgreSQL has read its files anew */

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

    s->logins[SETUP_WEB] = (struct setup_login){.key = "web", .conninfo = f->database.web, .os_user = programs};
    s->logins[SETUP_COLLECTOR] = (struct setup_login){
        .key = "collector", .conninfo = f->database.collector, .os_user = programs};
    s->logins[SETUP_OWNER] = (struct setup_login){
        .key = "owner", .conninfo = f->database.owner, .os_user = as_user_self()};
    for (size_t i = 0; i < SETUP_LOGINS; i++) {
        struct setup_login *l = &s->logins[i];

        if (provision_target(l->conninfo, &l->to, problem)) {
            cli_say("[database] %s in the configuration: %s", l->key, problem);
            return CLI_USAGE;
        }
        if (strcmp(l->to.database, s->logins[SETUP_WEB].to.database) != 0) {
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

static bool try_login(struct setup_login *l)
{
    struct db *d;

    l->works = false;
    if (db_open(l->conninfo, "tollgate", &d))
        return false;
    l->works = connect_as(d, l->os_user) == STATUS_OK;
    snprintf(l->error, sizeof(l->error), "%s", l->works ? "" : db_error(d));
    db_close(d);
    return l->works;
}

/* Only root can try as another; what can't be tried is taken to work. */
static bool try_logins(struct setup *s)
{
    bool all = true;

    for (size_t i = 0; i < SETUP_LOGINS; i++) {
        struct setup_login *l = &s->logins[i];

        if (!try_login(l) && geteuid() != 0 && strcmp(l->os_user, as_user_self()) != 0)
            l->works = true;
        all = all && l->works;
    }
    return all;
}

static int check_answers(struct setup *s)
{
    const struct provision_target *to = &s->logins[SETUP_OWNER].to;
    const char *at = to->host[0] ? to->host : "this machine's Unix socket";

    setup_step("Asking whether PostgreSQL answers at %s.", at);
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
    setup_step("Connecting to PostgreSQL as its superuser %s%s%s.", s->super_to.user,
               os_user ? ", as the system's user " : "", os_user ? os_user : "");
    if (db_open(s->super_conninfo, "tollgate", &s->super)) {
        cli_say("out of memory");
        return CLI_FAILED;
    }
    db_timeouts(s->super, (int)s->c->config->database.connect_timeout_s, 0);
    if (connect_as(s->super, os_user) == STATUS_OK)
        return CLI_OK;
    cli_say("%s", db_error(s->super));
    if (s->super_to.local)
        cli_say("run this as root, or name a superuser who may log in from here: --superuser \"user=... dbname=...\"");
    else
        cli_say("name a superuser who may log in from here, --superuser \"host=... user=... dbname=...\", or let the "
                "database's administrator make roles and database as docs/hosting.md says under \"On another host\"");
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
        setup_step("The roles exist already.");
        return CLI_OK;
    }
    setup_step("Creating the roles tollgate_owner, tollgate_web, tollgate_collector and tollgate_counter.");
    if (st == STATUS_OK && (st = io_path(path, sizeof(path), s->c->config->paths.sql_dir, "roles.sql")) == STATUS_OK &&
        (st = io_read_file(path, FILE_MAX, &sql, &length)) != STATUS_OK) {
        cli_say("%s can't be read: %s", path, status_text(st));
        return CLI_FAILED;
    }
    if (st == STATUS_OK)
        st = provision_make_roles(s->super, sql);
    free(sql);
    return st ? super_failed(s, "the roles were not created", st) : CLI_OK;
}

static int make_database(struct setup *s)
{
    const char *name = s->logins[SETUP_OWNER].to.database;
    char owner[PROVISION_NAME];
    enum status st = provision_owner(s->super, name, owner);

    if (st == STATUS_NOT_FOUND) {
        setup_step("Creating the database %s, owned by tollgate_owner.", name);
        st = provision_make_database(s->super, name);
        return st ? super_failed(s, "the database was not created", st) : CLI_OK;
    }
    if (st)
        return super_failed(s, "the databases can't be listed", st);
    if (strcmp(owner, "tollgate_owner") == 0) {
        setup_step("The database %s exists already.", name);
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
    char ident[SETUP_LOGINS][256];
};

static bool make_lines(const struct setup *s, struct lines *out)
{
    const struct setup_login *l = s->logins;

    for (size_t i = 0; i < SETUP_LOGINS; i++) {
        if (!login_lines_plain(l[i].to.user) || !login_lines_plain(l[i].os_user))
            return false;
        snprintf(out->ident[i], sizeof(out->ident[i]), "%-10s %-10s %s", LOGIN_MAP, l[i].os_user, l[i].to.user);
    }
    snprintf(out->hba, sizeof(out->hba), "local  %s  %s,%s,%s  peer map=%s", l[SETUP_OWNER].to.database,
             l[SETUP_WEB].to.user, l[SETUP_COLLECTOR].to.user, l[SETUP_OWNER].to.user, LOGIN_MAP);
    return login_lines_plain(l[SETUP_OWNER].to.database);
}

static void print_lines(const struct lines *lines, const struct provision_files *files)
{
    setup_step("At the end of %s:\n", files->ident);
    for (size_t i = 0; i < SETUP_LOGINS; i++)
        setup_step("  %s", lines->ident[i]);
    setup_step("\nIn %s, before every other line that starts with local or host:\n", files->hba);
    setup_step("  %s\n", lines->hba);
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
    char missing[SETUP_LOGINS * 256] = "", *text = read_text(path), *with;
    size_t n = 0;

    if (!text)
        return CLI_FAILED;
    for (size_t i = 0; i < SETUP_LOGINS; i++)
        if (!login_lines_has(text, lines->ident[i]))
            n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? "\n" : "", lines->ident[i]);
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

    setup_step("Adding these lines to both files, and telling PostgreSQL to read them.");
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
    for (size_t i = 0; i < SETUP_LOGINS; i++)
        if (!s->logins[i].works)
            cli_say("[database] %s, as the system's user %s: %s", s->logins[i].key, s->logins[i].os_user,
                    s->logins[i].error);
}

/* Over the network: passwords, which are the administrator's to choose. */
static int explain_network(const struct setup *s)
{
    say_failed_logins(s);
    setup_step("PostgreSQL is on the network, so the roles log in with passwords. As its superuser:\n");
    for (size_t i = 0; i < SETUP_LOGINS; i++)
        setup_step("  \\password %s", s->logins[i].to.user);
    setup_step(
        "\nIn its pg_hba.conf, with this machine's address:\n\n  hostssl  %s  %s,%s,%s  ADDRESS  scram-sha-256\n",
        s->logins[SETUP_OWNER].to.database, s->logins[SETUP_WEB].to.user, s->logins[SETUP_COLLECTOR].to.user,
        s->logins[SETUP_OWNER].to.user);
    setup_step(
        "Put the passwords into files that [database] names with passfile=, as docs/hosting.md shows, then run this "
        "again.");
    return CLI_REFUSED;
}

/* What the server said, without where it was asked. */
static const char *first_error(const struct setup *s)
{
    const char *error = "", *fatal;

    for (size_t i = 0; i < SETUP_LOGINS && !error[0]; i++)
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

    setup_step("Trying to log in as the programs do.");
    if (try_logins(s))
        return CLI_OK;
    if (!s->logins[SETUP_OWNER].to.local)
        return explain_network(s);
    if (geteuid() == 0 && !as_user_exists(s->logins[SETUP_WEB].os_user)) {
        cli_say("there is no user %s yet: run systemd-sysusers, then this again", s->logins[SETUP_WEB].os_user);
        return CLI_FAILED;
    }
    if (!make_lines(s, &lines)) {
        cli_say("a name in [database] can't stand in pg_hba.conf as it is; docs/hosting.md shows the lines to write");
        return CLI_FAILED;
    }
    if (provision_files(s->super, &files))
        s->write_login = false;
    setup_step("PostgreSQL does not let them in yet (%s). It will with these lines.", first_error(s));
    print_lines(&lines, &files);
    if (!s->write_login && !s->c->yes &&
        !(setup_ask("Add them now? [y/N] ", answer, sizeof(answer)) && answer[0] == 'y')) {
        setup_step("Add them and run `systemctl reload postgresql`, then this again; or run this with --write-login.");
        return CLI_REFUSED;
    }
    if ((result = write_lines(s, &lines, &files)))
        say_failed_logins(s);
    return result;
}

/* Nothing of it needs the superuser when all is there. */
int setup_place(struct setup *s)
{
    bool roles = false;
    int result;

    if ((result = read_logins(s)) || (result = check_answers(s)))
        return result;
    if (try_logins(s) && cli_db(s->c) && provision_has_roles(s->c->db, &roles) == STATUS_OK && roles) {
        setup_step("Roles and database exist, and the programs can log in.");
        return CLI_OK;
    }
    if ((result = connect_superuser(s)) || (result = make_roles(s)) || (result = make_database(s)))
        return result;
    return make_logins(s);
}

void setup_place_term(struct setup *s)
{
    db_close(s->super);
    free(s->super_conninfo);
}
