/*
 * cli: what the commands of `tollgate` share: the options, the database, questions, output.
 *
 * A command is a row of a table: {group, name, arguments, help, run}. A group's rows stand in its cmd_*.c, the others in main.c. `run`
 * gets its name as argv[0] and what stands behind it, as main does, and returns an exit status. cli_parse reads a command's own
 * options against a table; --config, --json, --yes and --help are taken out by main before and may stand anywhere. Everything here
 * lives as long as the process.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/table.h"
#include "lib/base/config.h"
#include "lib/base/password.h"
#include "lib/base/status.h"

struct db;
struct db_rows;

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,  /* it was tried and did not work; standard error says why */
    CLI_USAGE = 2,   /* the command line or the configuration is wrong */
    CLI_REFUSED = 3, /* refused, or it needs a confirmation that nobody gave */
};

struct cli {
    const char *config_path; /* --config; NULL: the default */
    struct config *config;   /* parsed before a command runs */
    bool json;               /* --json: one JSON value on standard output, nothing else there */
    bool yes;                /* --yes: questions are answered */
    bool any_version;        /* the command is of use in a database of another version, too */
    struct db *db;           /* use cli_db */
};

struct cli_command {
    const char *group; /* "tenant", or NULL for a command of one word */
    const char *name;  /* "create" */
    const char *arguments;
    const char *help;
    int (*run)(struct cli *c, int argc, char *argv[]);
    const char *more; /* text for --help below the line of help; NULL */
};

/*
 * A command's options, at most 16. Exactly one of text and flag is set: "--name VALUE" and "--name=VALUE" set *text, "--name"
 * sets *flag. The table ends with {0}. What is no option goes to `words` in order.
 */
struct cli_option {
    const char *name; /* without its dashes */
    const char **text;
    bool *flag;
};

/*
 * Reads options and between `least` and `most` words. On anything else it says on standard error what is wrong and
 * returns STATUS_INVALID; the command then returns CLI_USAGE.
 */
MUST_CHECK enum status cli_parse(int argc, char *argv[], const struct cli_option options[], const char *words[],
                                 size_t least, size_t most);

/* The owner's connection, opened lazily, closed by main. NULL only without memory (said). */
struct db *cli_db(struct cli *c);
/* Starts a transaction as the owner; says what is wrong and what to do when it can't. */
MUST_CHECK enum status cli_begin(struct cli *c);
/* Commits; says so when it did not work. */
MUST_CHECK enum status cli_commit(struct cli *c);

/* "tollgate: text" on standard error. */
void cli_say(const char *format, ...) PRINTF_LIKE(1, 2);
/* Says `what` and why (the database's message when it refused), rolls back, returns the exit status that fits `s`. */
int cli_fail(struct cli *c, enum status s, const char *what);
/*
 * Before what can't be undone: shows `what` and wants `word` typed. With --yes it is true at once. Without a terminal
 * it says that --yes is needed. When it is false, return CLI_REFUSED.
 */
bool cli_confirm(struct cli *c, const char *what, const char *word);
/* May `id` be a tenant's? false: it said why not. Such a tenant is left out, so nothing is made for it. */
bool cli_tenant_id(const char *id);
/* A whole number in [least, most]; false: it said what `name` must be. */
bool cli_number(const char *name, const char *text, long long least, long long most, long long *out);

/* A time of RFC 3339; false: it said what --`name` must be. NULL is allowed, and leaves *us. */
bool cli_time(const char *name, const char *text, int64_t *us);

/* Prints all rows (whose columns are `columns` in order), or with `one` the first alone; frees them. An exit status. */
int cli_show(struct cli *c, struct db_rows *rows, const struct table_column columns[], bool one);
/* A whole `list` command: no words; one transaction; `list`'s rows. `what` is said when it fails. An exit status. */
int cli_list(struct cli *c, int argc, char *argv[], enum status (*list)(struct db *d, struct db_rows **rows),
             const struct table_column columns[], const char *what);
/* The same with --tenant ID, NULL when it is not given. */
int cli_list_of(struct cli *c, int argc, char *argv[],
                enum status (*list)(struct db *d, const char *tenant, struct db_rows **rows),
                const struct table_column columns[], const char *what);
/* A whole `show` command: one word, which names the row. An exit status. */
int cli_show_named(struct cli *c, int argc, char *argv[],
                   enum status (*show)(struct db *d, const char *name, struct db_rows **rows),
                   const struct table_column columns[]);
/* A whole `remove` command: one word, asked for once more as "`before` WORD `behind`". An exit status. */
int cli_remove(struct cli *c, int argc, char *argv[], const char *before, const char *behind,
               enum status (*remove)(struct db *d, const char *name), const char *done);
/* Commits, prints `done` (unless --json, which prints {"id":…}) and gives the exit status; a failure is said with `what`. */
int cli_end(struct cli *c, enum status s, const char *what, const char *done, const char *id);

/* What `setup` shares with the commands that make accounts, keys and tiers. */
/* Says what is wrong with it when it is none. */
bool cli_is_email(const char *text);
/*
 * Asks for a password: at the terminal without echo, twice, or with `from_stdin` one line of standard input; and hashes it. What
 * went wrong, or password_problem finds, is said.
 */
MUST_CHECK enum status cli_ask_hash(const struct config *config, bool from_stdin, const char *email,
                                    char hash[PASSWORD_HASH_SIZE]);
/* In the caller's transaction. */
MUST_CHECK enum status cli_store_key(struct cli *c, const char *text, const char *id, const char *name,
                                     const char *tenant, const char *scopes, const char *expires);
/* LIMIT=NUMBER words up to NULL: are they such (said), and sets them in the caller's transaction (an unknown key is said). */
MUST_CHECK enum status cli_check_limits(const char *words[], bool may_remove);
MUST_CHECK enum status cli_set_limits(struct cli *c, const char *id, const char *words[]);

/* A group's commands, in its cmd_*.c; {0} ends each table. */
extern const struct cli_command tenant_commands[], tier_commands[], limit_commands[], account_commands[],
    key_commands[], spool_commands[];

/* cmd_setup.c */
int cmd_setup(struct cli *c, int argc, char *argv[]);
/* cmd_metric.c */
int cmd_metric_create(struct cli *c, int argc, char *argv[]);
int cmd_metric_limit(struct cli *c, int argc, char *argv[]);
int cmd_metric_list(struct cli *c, int argc, char *argv[]);
int cmd_metric_show(struct cli *c, int argc, char *argv[]);
int cmd_metric_change(struct cli *c, int argc, char *argv[]);
int cmd_metric_remove(struct cli *c, int argc, char *argv[]);
/* cmd_migrate.c */
int cmd_migrate(struct cli *c, int argc, char *argv[]);
int cmd_demo(struct cli *c, int argc, char *argv[]);
/* cmd_adopt.c, cmd_adopt_map.c, cmd_enforce.c */
int cmd_adopt(struct cli *c, int argc, char *argv[]);
int cmd_leave(struct cli *c, int argc, char *argv[]);
int cmd_enforce(struct cli *c, int argc, char *argv[]);
/* cmd_reconcile.c */
int cmd_reconcile(struct cli *c, int argc, char *argv[]);
/* cmd_spool_show.c, cmd_spool_ingest.c */
int cmd_spool_show(struct cli *c, int argc, char *argv[]);
int cmd_spool_ingest(struct cli *c, int argc, char *argv[]);
/* cmd_spool_rejected.c */
int cmd_spool_rejected(struct cli *c, int argc, char *argv[]);
/* cmd_doctor.c */
int cmd_doctor(struct cli *c, int argc, char *argv[]);
/* cmd_config.c */
int cmd_config(struct cli *c, int argc, char *argv[]);
/* cmd_config_server.c */
int cmd_config_server(struct cli *c, int argc, char *argv[]);

#endif
