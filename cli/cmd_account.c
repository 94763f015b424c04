/* cmd_account.c: tollgate account: who may sign in, and their passwords */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/base/password.h"
#include "lib/base/password_common.h"
#include "lib/store/accounts.h"

#define PASSWORD_SIZE 1026 /* the longest password, a newline, a NUL */

static const struct table_column columns[] = {
    {"email", "e-mail", TABLE_TEXT},
    {"tenant_id", "tenant", TABLE_TEXT},
    {"role", "role", TABLE_TEXT},
    {"created_at", "created", TABLE_TEXT},
    {"signed_in_at", "last sign-in", TABLE_TEXT},
    {"sessions", "sessions", TABLE_NUMBER},
    {0},
};

/* One line without its end; false at the end of the input or when it does not fit. */
static bool read_line(char *out, size_t size)
{
    size_t n;

    if (!fgets(out, (int)size, stdin))
        return false;
    n = strcspn(out, "\r\n");
    if (out[n] == 0 && n + 1 == size)
        return false;
    out[n] = 0;
    return true;
}

static bool read_hidden(const char *question, char *out, size_t size)
{
    struct termios was, quiet;
    bool ok;

    if (tcgetattr(STDIN_FILENO, &was) < 0)
        return false;
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(question, stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
        return false;
    ok = read_line(out, size);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    fputc('\n', stderr);
    return ok;
}

/* `out` is to be wiped with sodium_memzero. False: it said why. */
static bool ask_password(bool from_stdin, const char *email, char *out, size_t size)
{
    char again[PASSWORD_MOST + 2];
    const char *problem;
    bool ok = false;

    /* what stdio keeps of the secret would outlive the wipe */
    setvbuf(stdin, NULL, _IONBF, 0);
    if (!from_stdin && !isatty(STDIN_FILENO)) {
        cli_say("there is no terminal to ask for the password; give it on standard input with --password-stdin");
        return false;
    }
    if (from_stdin ? !read_line(out, size) : !read_hidden("Password: ", out, size)) {
        cli_say("no password was read");
        goto done;
    }
    problem = password_problem(out, email);
    if (problem) {
        cli_say("%s", problem);
        goto done;
    }
    if (!from_stdin && (!read_hidden("Once more: ", again, sizeof(again)) || strcmp(out, again) != 0)) {
        cli_say("the two are not the same; nothing was changed");
        goto done;
    }
    ok = true;
done:
    sodium_memzero(again, sizeof(again));
    if (!ok)
        sodium_memzero(out, size);
    return ok;
}

enum status cli_ask_hash(const struct config *config, bool from_stdin, const char *email, char hash[PASSWORD_HASH_SIZE])
{
    char password[PASSWORD_SIZE];
    enum status s;

    if (!ask_password(from_stdin, email, password, sizeof(password)))
        return STATUS_INVALID;
    s = password_hash(config, password, hash);
    if (s != STATUS_OK)
        cli_say("there is not enough memory to hash the password (%d KiB, web.password_memory_kib)",
                (int)config->web.password_memory_kib);
    sodium_memzero(password, sizeof(password));
    return s;
}

/* A role and a tenant that belong together; says what is wrong. */
static bool roles_fit(const char *role, const char *tenant)
{
    if (role && strcmp(role, "operator") == 0 && !tenant)
        return true;
    if (role && tenant && (strcmp(role, "viewer") == 0 || strcmp(role, "admin") == 0))
        return true;
    cli_say("say --tenant ID --role viewer, --tenant ID --role admin, or --role operator");
    return false;
}

bool cli_is_email(const char *text)
{
    const char *at = strchr(text, '@');

    if (at && at != text && at[1] && !strchr(at + 1, '@') && strlen(text) <= 254 && !strpbrk(text, " \t\r\n"))
        return true;
    cli_say("\"%s\" is not an e-mail address", text);
    return false;
}

static int cmd_account_create(struct cli *c, int argc, char *argv[])
{
    const char *email, *tenant = NULL, *role = NULL;
    bool from_stdin = false;
    const struct cli_option options[] = {
        {"tenant", &tenant, NULL}, {"role", &role, NULL}, {"password-stdin", NULL, &from_stdin}, {0}};
    char hash[PASSWORD_HASH_SIZE];

    if (cli_parse(argc, argv, options, &email, 1, 1) || !cli_is_email(email) || !roles_fit(role, tenant) ||
        (tenant && !cli_tenant_id(tenant)))
        return CLI_USAGE;
    if (cli_ask_hash(c->config, from_stdin, email, hash))
        return CLI_FAILED;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, accounts_create(c->db, email, tenant, role, hash), "the account was not created",
                   "The account was created.", email);
}

static int cmd_account_list(struct cli *c, int argc, char *argv[])
{
    return cli_list_of(c, argc, argv, accounts_list, columns, "the accounts can't be listed");
}

static int cmd_account_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, accounts_show, columns);
}

static int cmd_account_change(struct cli *c, int argc, char *argv[])
{
    const char *email, *new_email = NULL, *role = NULL;
    const struct cli_option options[] = {{"email", &new_email, NULL}, {"role", &role, NULL}, {0}};

    if (cli_parse(argc, argv, options, &email, 1, 1) || (new_email && !cli_is_email(new_email)))
        return CLI_USAGE;
    if (role && strcmp(role, "viewer") != 0 && strcmp(role, "admin") != 0) {
        cli_say("--role is viewer or admin; an operator needs a new account");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, accounts_change(c->db, email, new_email, role, NULL), email,
                   "The account was changed and signed out.", new_email ? new_email : email);
}

static int cmd_account_password(struct cli *c, int argc, char *argv[])
{
    const char *email;
    bool from_stdin = false;
    const struct cli_option options[] = {{"password-stdin", NULL, &from_stdin}, {0}};
    char hash[PASSWORD_HASH_SIZE];

    if (cli_parse(argc, argv, options, &email, 1, 1))
        return CLI_USAGE;
    if (cli_ask_hash(c->config, from_stdin, email, hash))
        return CLI_FAILED;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, accounts_change(c->db, email, NULL, NULL, hash), email,
                   "The password was set and the account signed out.", email);
}

static int cmd_account_remove(struct cli *c, int argc, char *argv[])
{
    return cli_remove(c, argc, argv, "The account", "goes.", accounts_remove, "The account was removed.");
}

const struct cli_command account_commands[] = {
    {"account", "create", "EMAIL (--tenant ID --role viewer|admin | --role operator) [--password-stdin]",
     "Let a person sign in", cmd_account_create,
     "The password is asked for at the terminal; it is never an argument.\n"},
    {"account", "list", "[--tenant ID]", "Who may sign in", cmd_account_list, NULL},
    {"account", "show", "EMAIL", "One account", cmd_account_show, NULL},
    {"account", "change", "EMAIL [--email NEW] [--role viewer|admin]", "Change an account; it is signed out everywhere",
     cmd_account_change, NULL},
    {"account", "remove", "EMAIL", "Remove an account", cmd_account_remove, NULL},
    {"account", "password", "EMAIL [--password-stdin]", "Set a password; it is signed out everywhere",
     cmd_account_password, NULL},
    {0},
};
