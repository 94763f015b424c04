/* setup_login.c: of tollgate setup: the lines of pg_hba.conf and pg_ident.conf by which the programs log in over the Unix socket */
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/as_user.h"
#include "cli/setup.h"
#include "lib/base/io.h"
#include "lib/store/db.h"

/*
 * The first line of pg_hba.conf that fits a connection decides, so Tollgate's stands before all others; it fits Tollgate's database
 * and roles alone.
 */
#define LOGIN_MAP "tollgate"
#define RELOAD_TRIES 50 /* of 100 ms, until PostgreSQL has read its files anew */
#define COMMENT "# Tollgate: its programs, over the Unix socket (tollgate setup)\n"

/* ---- texts ---- */

/* Can `name` stand in these files as it is, without quotes? */
static bool is_plain(const char *name)
{
    static const char *const words[] = {"all", "replication", "sameuser", "samerole", "samegroup"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(name, words[i]) == 0)
            return false;
    return *name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(name);
}

/* The next word of a line, and its length; 0 at the end of the line. */
static size_t word(const char **at)
{
    *at += strspn(*at, " \t\r");
    return **at == '#' ? 0 : strcspn(*at, " \t\r\n#");
}

static bool same_words(const char *a, const char *b)
{
    for (;;) {
        size_t n = word(&a), m = word(&b);

        if (n != m || memcmp(a, b, n) != 0)
            return false;
        if (n == 0)
            return true;
        a += n;
        b += m;
    }
}

static const char *next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

/* Is there a line with the same words? */
static bool has_line(const char *text, const char *line)
{
    for (; *text; text = next_line(text))
        if (same_words(text, line))
            return true;
    return false;
}

/* `text` with `added` at `at`. */
static char *insert(const char *text, const char *at, const char *before, const char *added, const char *behind)
{
    char *out = NULL;
    size_t size;
    FILE *to = open_memstream(&out, &size);

    if (!to)
        return NULL;
    fprintf(to, "%.*s%s%s%s\n%s%s", (int)(at - text), text, before, COMMENT, added, behind, at);
    return fclose(to) == 0 ? out : NULL;
}

/* The text with the line at its end. NULL: out of memory. */
static char *with_last(const char *text, const char *line)
{
    size_t n = strlen(text);

    return insert(text, text + n, n > 0 && text[n - 1] != '\n' ? "\n" : "", line, "");
}

/* The text with the line before the first rule, and the comment that stands over that one. NULL: out of memory. */
static char *with_first(const char *text, const char *line)
{
    const char *block = NULL; /* the comment that stands over what follows */

    for (const char *at = text; *at; at = next_line(at)) {
        const char *first = at;

        if (*at == '#') {
            block = block ? block : at;
            continue;
        }
        if (word(&first) > 0)
            return insert(text, block ? block : at, "", line, "\n");
        block = NULL;
    }
    return with_last(text, line);
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
        if (!is_plain(l[i].to.user) || !is_plain(l[i].os_user))
            return false;
        snprintf(out->ident[i], sizeof(out->ident[i]), "%-10s %-10s %s", LOGIN_MAP, l[i].os_user, l[i].to.user);
    }
    snprintf(out->hba, sizeof(out->hba), "local  %s  %s,%s,%s  peer map=%s", l[SETUP_OWNER].to.database,
             l[SETUP_WEB].to.user, l[SETUP_COLLECTOR].to.user, l[SETUP_OWNER].to.user, LOGIN_MAP);
    return is_plain(l[SETUP_OWNER].to.database);
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
        as_user_begin(getpwuid(st.st_uid));
        s = io_replace_file(real, text, strlen(text), st.st_mode & 07777);
        as_user_end();
    }
    free(text);
    if (s == STATUS_OK)
        return CLI_OK;
    cli_say("%s was not changed: %s", path, status_text(s));
    return CLI_FAILED;
}

static int write_ident(const struct lines *lines, const char *path)
{
    char missing[SETUP_LOGINS * 256] = "", *text = setup_read(path), *with;
    size_t n = 0;

    if (!text)
        return CLI_FAILED;
    for (size_t i = 0; i < SETUP_LOGINS; i++)
        if (!has_line(text, lines->ident[i]))
            n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? "\n" : "", lines->ident[i]);
    with = n ? with_last(text, missing) : NULL;
    free(text);
    return n ? replace(path, with) : CLI_OK;
}

static int write_hba(const struct lines *lines, const char *path)
{
    char *text = setup_read(path), *with;
    bool has;

    if (!text)
        return CLI_FAILED;
    has = has_line(text, lines->hba);
    with = has ? NULL : with_first(text, lines->hba);
    free(text);
    return has ? CLI_OK : replace(path, with);
}

/* PostgreSQL reads its files some time after it was told to. */
static bool wait_for_logins(struct setup *s)
{
    const struct timespec pause = {.tv_nsec = 100000000};

    for (int i = 0; i < RELOAD_TRIES; i++) {
        if (setup_try_logins(s))
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

int setup_login(struct setup *s)
{
    struct provision_files files = {"pg_hba.conf", "pg_ident.conf"};
    struct lines lines;
    char answer[8];
    int result;

    setup_step("Trying to log in as the programs do.");
    if (setup_try_logins(s))
        return CLI_OK;
    if (!s->logins[SETUP_OWNER].to.local)
        return explain_network(s);
    if (geteuid() == 0 && !getpwnam(s->logins[SETUP_WEB].os_user)) {
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
