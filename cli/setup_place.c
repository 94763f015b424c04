/* setup_place.c: of tollgate setup: who connects and where to, roles and database */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/as_user.h"
#include "cli/setup.h"
#include "lib/base/io.h"
#include "lib/store/db.h"

#define FILE_MAX ((size_t)1 << 20) /* of pg_hba.conf, roles.sql */

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

    as_user_begin(os_user ? getpwnam(os_user) : NULL);
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

bool setup_try_logins(struct setup *s)
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
    const char *os_user = s->super_to.local && getpwnam(s->super_to.user) ? s->super_to.user : NULL;

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

char *setup_read(const char *path)
{
    char *text = NULL;
    size_t length;
    enum status s = io_read_file(path, FILE_MAX, &text, &length);

    if (s == STATUS_OK)
        return text;
    cli_say("%s can't be read: %s", path, status_text(s));
    return NULL;
}

static int make_roles(struct setup *s)
{
    char path[PATH_MAX], *sql = NULL;
    bool there = false;
    enum status st = provision_has_roles(s->super, &there);

    if (st == STATUS_OK && there) {
        setup_step("The roles exist already.");
        return CLI_OK;
    }
    setup_step("Creating the roles tollgate_owner, tollgate_web, tollgate_collector and tollgate_counter.");
    if (st == STATUS_OK && (st = io_path(path, sizeof(path), s->c->config->paths.sql_dir, "roles.sql")) == STATUS_OK &&
        !(sql = setup_read(path)))
        return CLI_FAILED;
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

/* Nothing of it needs the superuser when all is there. */
int setup_place(struct setup *s)
{
    bool roles = false;
    int result;

    if ((result = read_logins(s)) || (result = check_answers(s)))
        return result;
    if (setup_try_logins(s) && cli_db(s->c) && provision_has_roles(s->c->db, &roles) == STATUS_OK && roles) {
        setup_step("Roles and database exist, and the programs can log in.");
        return CLI_OK;
    }
    if ((result = connect_superuser(s)) || (result = make_roles(s)) || (result = make_database(s)))
        return result;
    return setup_login(s);
}

void setup_place_term(struct setup *s)
{
    db_close(s->super);
    free(s->super_conninfo);
}
