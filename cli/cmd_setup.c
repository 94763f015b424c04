/* cmd_setup.c: tollgate setup: from a PostgreSQL that answers to a key that works, step by step */
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/setup.h"
#include "lib/store/db.h"
#include "lib/store/migrate.h"

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

    if ((result = setup_place(s)) || (result = make_schema(s)) || (result = setup_operator(s)))
        return result;
    result = setup_tenant(s);
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
