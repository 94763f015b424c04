/* config.c: every key in one table; reading file and environment against it */
#include "lib/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/address.h"
#include "lib/base/config_table.h"
#include "lib/base/ini.h"
#include "lib/base/io.h"

#define FILE_MOST (1 << 20) /* bytes of the file */

#define AT(field) offsetof(struct config, field)
#define TEXT(s, k, field, d, words)                      \
    {                                                    \
        s, k, TYPE_TEXT, AT(field), d, 0, 0, NULL, words \
    }
#define LIST(s, k, field, d, n, words)                   \
    {                                                    \
        s, k, TYPE_LIST, AT(field), d, 0, n, NULL, words \
    }
#define INTEGER(s, k, field, d, lo, hi, words)                \
    {                                                         \
        s, k, TYPE_INTEGER, AT(field), d, lo, hi, NULL, words \
    }
#define BOOLEAN(s, k, field, d, words)                      \
    {                                                       \
        s, k, TYPE_BOOLEAN, AT(field), d, 0, 0, NULL, words \
    }
#define CHOICE(s, k, field, d, list, words)                \
    {                                                      \
        s, k, TYPE_CHOICE, AT(field), d, 0, 0, list, words \
    }

const struct config_key config_keys[] = {
    TEXT("paths", "spool_dir", paths.spool_dir, "/var/lib/tollgate/spool",
         "The node's journal of events; a local disk, never shared."),
    TEXT("paths", "run_dir", paths.run_dir, "/run/tollgate",
         "The limit table and the collector's state; best in memory (tmpfs)."),
    TEXT("paths", "template_dir", paths.template_dir, "/usr/share/tollgate/templates", "The pages' templates."),
    TEXT("paths", "sql_dir", paths.sql_dir, "/usr/share/tollgate/sql", "The migrations."),
    TEXT("paths", "share_dir", paths.share_dir, "/usr/share/tollgate",
         "The folder of htdocs, lighttpd-conf, apache-conf and nginx-conf, of which the web server's configuration is "
         "made."),
    TEXT("database", "web", database.web, "dbname=tollgate user=tollgate_web",
         "How tollgate-web connects (a libpq connection string)."),
    TEXT("database", "collector", database.collector, "dbname=tollgate user=tollgate_collector",
         "How the collector connects."),
    TEXT("database", "owner", database.owner, "dbname=tollgate user=tollgate_owner", "How the command line connects."),
    INTEGER("database", "connect_timeout_s", database.connect_timeout_s, "5", 1, 60,
            "Seconds until an attempt to connect is given up."),
    INTEGER("database", "statement_timeout_s", database.statement_timeout_s, "30", 1, 3600,
            "Seconds until a statement is cancelled."),
    LIST("gate", "listen", gate.listen, "unix:/run/tollgate/gate.sock", 4,
         "Where the gate listens: unix:/path or 127.0.0.1:port (Apache needs TCP), comma-separated."),
    INTEGER("gate", "processes", gate.processes, "4", 1, 32, "Gate processes for each address."),
    LIST("gate", "prefix", gate.prefix, "/api", CONFIG_METERED,
         "What is metered: these paths and all below them; / is everything that is not Tollgate's own."),
    LIST("gate", "unmetered", gate.unmetered, "", CONFIG_PREFIXES,
         "Paths below a metered one that pass without a key and are not counted. Tollgate's own usage and subscription "
         "routes need not be listed."),
    TEXT(
        "gate", "key_header", gate.key_header, "Authorization",
        "The header that carries the key: Authorization (Bearer, or Basic with the key as the user name), or one whose "
        "whole value is the key, such as X-API-Key."),
    INTEGER("gate", "body_bytes", gate.body_bytes, "16777216", 1024, INT64_C(1) << 40,
            "Largest body of a call in bytes; the web server refuses a larger one before the gate hears of it."),
    CHOICE("gate", "on_failure", gate.admit_on_failure, "admit", "deny|admit",
           "What happens to calls while the spool can't be written or the limit table is being built: admit those who "
           "are known, or deny."),
    BOOLEAN("gate", "nginx", gate.nginx, "false",
            "Answer refusals as 403 with the real status and body in headers, for nginx's auth_request."),
    LIST("web", "listen", web.listen, "unix:/run/tollgate/web.sock", 4,
         "Where tollgate-web listens for its JSON API, /healthz, /readyz and /metrics."),
    INTEGER("web", "processes", web.processes, "4", 1, 32, "Web processes for each of these addresses."),
    LIST("web", "pages_listen", web.pages_listen, "unix:/run/tollgate/pages.sock", 4,
         "Where it listens for its pages and the sign-in, with processes of their own: a password being checked never "
         "holds up the JSON API."),
    INTEGER("web", "pages_processes", web.pages_processes, "2", 1, 32, "Web processes for each of those addresses."),
    TEXT("web", "api_prefix", web.api_prefix, "/api", "Where Tollgate's own API is, such as /api/usage."),
    TEXT("web", "page_prefix", web.page_prefix, "/",
         "Where Tollgate's pages are, with /static, /healthz, /readyz and /metrics; such as /usage on a host name that "
         "is shared with a service."),
    TEXT("web", "public_url", web.public_url, "",
         "The address that users see, such as https://usage.example.org; with https cookies are Secure."),
    TEXT("web", "trusted_proxies", web.trusted_proxies, "",
         "Addresses, comma-separated, whose X-Forwarded-For and X-Forwarded-Proto are believed."),
    INTEGER("web", "body_bytes", web.body_bytes, "8388608", 1024, 67108864,
            "Largest body of POST /api/usage/events in bytes; other bodies are shorter."),
    INTEGER("web", "request_timeout_s", web.request_timeout_s, "10", 1, 300,
            "Seconds in which a request has to arrive whole, and in which its answer has to be taken."),
    INTEGER("web", "events_max", web.events_max, "10000", 1, 100000, "Most events in one POST."),
    INTEGER("web", "session_idle_s", web.session_idle_s, "7200", 60, 2592000,
            "Seconds without a request after which a sign-in ends."),
    INTEGER("web", "session_absolute_s", web.session_absolute_s, "86400", 60, 31536000,
            "Seconds after which a sign-in ends in any case."),
    INTEGER("web", "password_memory_kib", web.password_memory_kib, "65536", 8192, 1048576,
            "Memory in KiB that hashing a password takes (Argon2id), by one process at a time; hashes of another "
            "cost are renewed at the next sign-in."),
    INTEGER("web", "password_passes", web.password_passes, "2", 1, 16,
            "Passes over that memory; time grows with both."),
    INTEGER(
        "limits", "lease_percent", limits.lease_percent, "0", 0, 100,
        "Percent of each hard limit, the last ones, that the nodes get in shares, so that several nodes together do "
        "not exceed it; 0: none, 100: the whole limit. The same on every node."),
    CHOICE(
        "spool", "sync", spool.sync, "interval", "always|interval|never",
        "When an event is safe on disk: before the answer (always), at sync_ms (interval), or when the kernel writes "
        "it (never). A killed process never loses one; a power cut may."),
    INTEGER("spool", "sync_ms", spool.sync_ms, "1000", 10, 60000,
            "Milliseconds between two syncs when sync = interval; a power cut can lose that much."),
    INTEGER("spool", "segment_bytes", spool.segment_bytes, "16777216", 65536, 1073741824,
            "Size at which a segment is closed and the next begun."),
    INTEGER("spool", "segment_age_s", spool.segment_age_s, "300", 1, 86400,
            "Age at which a segment is closed at the next append."),
    INTEGER("spool", "max_bytes", spool.max_bytes, "0", 0, INT64_MAX,
            "Size of the whole spool at which it counts as full; 0: the disk's size."),
    INTEGER("spool", "reserve_bytes", spool.reserve_bytes, "1048576", 0, 1073741824,
            "Space kept for the collector to go on with when the disk is full."),
    INTEGER("spool", "keep_minutes", spool.keep_minutes, "60", 0, 100000,
            "Minutes for which a segment is kept after it was stored: what a restored database lacks is stored again "
            "from there, once; 0: removed at once."),
    INTEGER("spool", "keep_bytes", spool.keep_bytes, "1073741824", 0, INT64_MAX,
            "Most bytes of segments that are kept, never more than a quarter of the free space; the oldest go first."),
    INTEGER("collector", "batch_rows", collector.batch_rows, "2000", 1, 100000,
            "Most events in a transaction; ten times as many while the collector is behind."),
    INTEGER("collector", "batch_ms", collector.batch_ms, "100", 1, 10000,
            "Milliseconds that the collector waits for more events before it stores the next batch."),
    INTEGER("collector", "poll_ms", collector.poll_ms, "200", 10, 10000,
            "Milliseconds between two looks for changes in the database (limits, keys, gauges)."),
    INTEGER("collector", "retention_months", collector.retention_months, "13", 1, 1200,
            "Months for which the rows of usage_tracking are kept; the aggregates stay."),
    INTEGER("collector", "hourly_months", collector.hourly_months, "13", 1, 1200,
            "Months for which hourly aggregates are kept; daily ones stay."),
    INTEGER("collector", "rejected_days", collector.rejected_days, "90", 1, 36500,
            "Days for which events that could not be stored are kept; `tollgate doctor` says how many were removed."),
    INTEGER("collector", "partitions_ahead", collector.partitions_ahead, "2", 1, 24,
            "Monthly partitions that are created in advance."),
    INTEGER("collector", "endpoints_max", collector.endpoints_max, "500", 1, 10000,
            "Distinct endpoints per tenant and day in the aggregates; further ones count as (other)."),
    CHOICE("storage", "backend", storage.backend_kind, "filesystem", "filesystem", "Where tenants' files are."),
    TEXT("storage", "dir", storage.dir, "/var/lib/tollgate/storage", "The folder that holds a folder for each tenant."),
    INTEGER("storage", "interval_s", storage.interval_s, "300", 1, 86400,
            "Seconds between measurements of a tenant's storage."),
    TEXT("process", "user", process.user, "", "The user that a program started as root becomes; empty: it stays root."),
    CHOICE("log", "level", log.level, "info", "error|warning|info|debug",
           "The least important lines that are written."),
};
#define KEYS (sizeof(config_keys) / sizeof(config_keys[0]))
const size_t config_n_keys = KEYS;

/* Parsing state, and what a config owns beside its fields. */
struct loaded {
    struct config config; /* first, so that a config is its loaded */
    char *texts[KEYS];
    bool in_file[KEYS]; /* the file has set it */
    const char *path;
    char section[64]; /* that the lines are in; "" while they are skipped */
    config_report *report;
    void *arg;
    size_t problems;
};

static void *field(struct loaded *l, const struct config_key *k)
{
    return (char *)&l->config + k->offset;
}

/* One problem, with the place where it stands in front. */
static void complain(struct loaded *l, const char *where, const char *format, ...) PRINTF_LIKE(3, 4);
static void complain(struct loaded *l, const char *where, const char *format, ...)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s: ", where);
    va_list args;

    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    l->problems++;
    l->report(l->arg, text);
}

/* "tollgate.conf:12" */
static const char *place(const struct loaded *l, int line, char out[256])
{
    snprintf(out, 256, "%.200s:%d", l->path, line);
    return out;
}

/* ---- values ---- */

static bool parse_integer(const struct config_key *k, const char *value, int64_t *out)
{
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (errno || end == value || *end || n < k->least || n > k->most)
        return false;
    *out = n;
    return true;
}

static bool parse_choice(const struct config_key *k, const char *value, int64_t *out)
{
    size_t length = strlen(value);
    const char *at = k->choices;
    for (int64_t i = 0;; i++) {
        size_t n = strcspn(at, "|");
        if (n == length && memcmp(at, value, n) == 0) {
            *out = i;
            return true;
        }
        if (!at[n])
            return false;
        at += n + 1;
    }
}

/* Cuts `text` in place at its commas; spaces around entries go. */
static bool parse_list(const struct config_key *k, char *text, const char **out)
{
    size_t n = 0;
    for (char *at = text; at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma = '\0';
        at += strspn(at, " \t");
        for (char *end = at + strlen(at); end > at && isspace((unsigned char)end[-1]);)
            *--end = '\0';
        if (*at) {
            if ((int64_t)n == k->most)
                return false;
            out[n++] = at;
        }
        at = comma ? comma + 1 : NULL;
    }
    return true;
}

/* Only a connection string may hold a # or ; behind a blank: elsewhere it is a comment that would become part of the value. */
static bool has_comment(const struct config_key *k, const char *value)
{
    return strcmp(k->section, "database") != 0 && (strstr(value, " #") || strstr(value, " ;"));
}

static void set_key(struct loaded *l, size_t i, const char *value, const char *where)
{
    const struct config_key *k = &config_keys[i];
    void *at = field(l, k);
    char type[CONFIG_TYPE_SIZE];
    int64_t n;
    bool ok = true;
    char *text = strdup(value);

    if (!text) {
        complain(l, where, "out of memory");
        return;
    }
    free(l->texts[i]);
    l->texts[i] = text;
    switch (k->type) {
    case TYPE_TEXT:
        *(const char **)at = text;
        break;
    case TYPE_LIST:
        memset(at, 0, sizeof(char *) * (size_t)k->most);
        ok = parse_list(k, text, at);
        break;
    case TYPE_INTEGER:
        ok = parse_integer(k, value, at);
        break;
    case TYPE_BOOLEAN:
        *(bool *)at = strcmp(value, "true") == 0;
        ok = *(bool *)at || strcmp(value, "false") == 0;
        break;
    case TYPE_CHOICE:
        ok = parse_choice(k, value, &n);
        if (ok && k->offset == AT(gate.admit_on_failure))
            *(bool *)at = n != 0;
        else if (ok)
            *(int64_t *)at = n;
        break;
    }
    if (!ok)
        complain(l, where, "%s.%s: \"%.100s\" is wrong; it must be %s", k->section, k->key, value,
                 config_type_text(k, type));
    else if (has_comment(k, value))
        complain(l, where, "%s.%s: there is a comment after the value; give it a line of its own", k->section, k->key);
}

/* ---- names ---- */

/* Levenshtein distance, for names of up to 63 characters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n > 63)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n];
}

static void unknown_key(struct loaded *l, const char *where, const char *section, const char *key)
{
    const struct config_key *best = NULL;
    size_t least = 4;
    for (size_t i = 0; i < KEYS; i++) {
        size_t d = distance(key, config_keys[i].key) + (strcmp(section, config_keys[i].section) != 0);
        if (d < least) {
            least = d;
            best = &config_keys[i];
        }
    }
    if (best)
        complain(l, where, "%.60s.%.60s is not a key; did you mean %s in [%s]?", section, key, best->key,
                 best->section);
    else
        complain(l, where, "%.60s.%.60s is not a key; `tollgate config` lists them", section, key);
}

/* "POST /api/files = file_upload" */
static void add_rule(struct loaded *l, int line, const char *where, const char *name, const char *metric)
{
    struct config *c = &l->config;
    struct config_rule *r = &c->rules[c->n_rules], rule;
    size_t method = strcspn(name, " ");
    const char *path = name + method + strspn(name + method, " ");

    if (method == 0 || method >= sizeof(rule.method) || path[0] != '/' || strlen(path) >= sizeof(rule.path) ||
        !*metric || strlen(metric) >= sizeof(rule.metric) || strpbrk(metric, " \t")) {
        complain(l, where, "rules: \"%.60s = %.60s\" is wrong; write METHOD /path = metric, or several with commas",
                 name, metric);
        return;
    }
    if (c->n_rules == CONFIG_RULES) {
        complain(l, where, "rules: there are more than %d rules", CONFIG_RULES);
        return;
    }
    memset(&rule, 0, sizeof(rule));
    memcpy(rule.method, name, method);
    strcpy(rule.path, path);
    strcpy(rule.metric, metric);
    for (size_t i = 0; i < c->n_rules; i++)
        if (memcmp(&c->rules[i], &rule, offsetof(struct config_rule, line)) == 0) {
            complain(l, where, "rules: \"%.60s = %.60s\" is here twice; remove one of the lines", name, metric);
            return;
        }
    *r = rule;
    r->line = line;
    c->n_rules++;
}

/* "POST /api/files = file_upload, storage_used_gb": a rule for each. */
static void add_rules(struct loaded *l, int line, const char *where, const char *name, const char *metrics)
{
    char metric[sizeof(((struct config_rule *)0)->metric) + 1];

    for (const char *at = metrics;; at++) {
        size_t n, end = strcspn(at, ",");

        n = end;
        while (n > 0 && strchr(" \t", at[n - 1]))
            n--;
        snprintf(metric, sizeof(metric), "%.*s", (int)n, at);
        add_rule(l, line, where, name, metric);
        at += end;
        if (!*at)
            return;
        at += strspn(at + 1, " \t");
    }
}

/* "/api/orders = http://127.0.0.1:9000" */
static void add_backend(struct loaded *l, const char *where, const char *path, const char *target)
{
    struct config *c = &l->config;
    struct backend backend;
    char what[512];

    if (backend_parse(path, target, &backend, what) != STATUS_OK)
        complain(l, where, "%s", what);
    else if (c->n_backends == BACKEND_MOST)
        complain(l, where, "backends: there are more than %d", BACKEND_MOST);
    else
        c->backends[c->n_backends++] = backend;
}

static size_t find_key(const char *section, const char *key)
{
    size_t i = 0;
    while (i < KEYS && (strcmp(config_keys[i].section, section) != 0 || strcmp(config_keys[i].key, key) != 0))
        i++;
    return i;
}

static void on_section(void *arg, int line, const char *name)
{
    struct loaded *l = arg;
    char where[256];
    size_t i = 0;

    while (i < KEYS && strcmp(config_keys[i].section, name) != 0)
        i++;
    l->section[0] = 0;
    if (i == KEYS && strcmp(name, "rules") != 0 && strcmp(name, "backends") != 0)
        complain(l, place(l, line, where), "[%.60s] is not a section; `tollgate config` lists them", name);
    else
        snprintf(l->section, sizeof(l->section), "%s", name);
}

static void on_pair(void *arg, int line, const char *key, const char *value)
{
    struct loaded *l = arg;
    size_t i = find_key(l->section, key);
    char where[256];

    place(l, line, where);
    if (!l->section[0])
        return;
    if (strcmp(l->section, "rules") == 0)
        add_rules(l, line, where, key, value);
    else if (strcmp(l->section, "backends") == 0)
        add_backend(l, where, key, value);
    else if (i == KEYS)
        unknown_key(l, where, l->section, key);
    else if (l->in_file[i])
        complain(l, where, "%s.%s is here a second time; remove one of the lines", l->section, key);
    else {
        l->in_file[i] = true;
        set_key(l, i, value, where);
    }
}

static void on_problem(void *arg, int line, const char *what)
{
    struct loaded *l = arg;
    char where[256];

    complain(l, place(l, line, where), "%s", what);
}

static enum status read_file(struct loaded *l)
{
    const struct ini_handler handler = {on_section, on_pair, on_problem, l};
    char *text;
    size_t n;
    enum status s = io_read_file(l->path, FILE_MOST, &text, &n);

    if (s == STATUS_LIMIT)
        complain(l, l->path, "the file is larger than 1 MiB; it can't be a configuration");
    else if (s != STATUS_OK)
        complain(l, l->path, "%s; name the file with --config or TOLLGATE_CONF",
                 s == STATUS_NO_MEMORY ? status_text(s) : strerror(errno));
    if (s != STATUS_OK)
        return s;
    ini_parse(text, n, &handler);
    free(text);
    return STATUS_OK;
}

/* TOLLGATE_<SECTION>_<KEY> over what the file said. */
static void read_environment(struct loaded *l)
{
    for (size_t i = 0; i < KEYS; i++) {
        char name[128] = "TOLLGATE_";
        size_t n = strlen(name);
        const char *value;

        snprintf(name + n, sizeof(name) - n, "%s_%s", config_keys[i].section, config_keys[i].key);
        for (char *p = name; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        value = getenv(name);
        if (value)
            set_key(l, i, value, name);
    }
}

const char *config_path(const char *path)
{
    if (!path)
        path = getenv("TOLLGATE_CONF");
    return path && *path ? path : CONFIG_PATH;
}

/* Each value is right by itself; can the addresses stand beside each other? */
static enum status check_addresses(struct loaded *l)
{
    char what[512], problem[512];
    enum status s = address_check(&l->config, what);

    if (s == STATUS_OK)
        s = backend_check(&l->config, what);
    if (s != STATUS_OK) {
        snprintf(problem, sizeof(problem), "%.200s: %.300s", l->path, what);
        l->report(l->arg, problem);
    }
    return s;
}

static int64_t addresses(const char *const *listen, size_t most)
{
    int64_t n = 0;

    while ((size_t)n < most && listen[n])
        n++;
    return n;
}

/* Each process that decides is a writer of the limit table, and a reload starts the new ones before the old ones end. */
static enum status check_processes(struct loaded *l)
{
    const struct config *c = &l->config;
    int64_t gate = addresses(c->gate.listen, sizeof(c->gate.listen) / sizeof(*c->gate.listen));
    int64_t web = addresses(c->web.listen, sizeof(c->web.listen) / sizeof(*c->web.listen));
    int64_t pages = addresses(c->web.pages_listen, sizeof(c->web.pages_listen) / sizeof(*c->web.pages_listen));
    int64_t all = gate * c->gate.processes + web * c->web.processes + pages * c->web.pages_processes;

    if (all <= CONFIG_PROCESSES)
        return STATUS_OK;
    complain(l, l->path,
             "gate.processes %" PRId64 " for each of %" PRId64 " addresses, web.processes %" PRId64 " for %" PRId64
             " and web.pages_processes %" PRId64 " for %" PRId64 " are %" PRId64
             " processes; the limit table has room for %d, since a reload runs twice as many: ask for %" PRId64
             " fewer",
             c->gate.processes, gate, c->web.processes, web, c->web.pages_processes, pages, all, CONFIG_PROCESSES,
             all - CONFIG_PROCESSES);
    return STATUS_INVALID;
}

/* Reads everything, reports every problem and returns the first kind of failure. */
static enum status load(const char *path, config_report *report, void *arg, struct config **out)
{
    struct loaded *l = calloc(1, sizeof(*l));
    enum status s;

    if (!l) {
        report(arg, "out of memory");
        return STATUS_NO_MEMORY;
    }
    l->path = config_path(path);
    l->report = report;
    l->arg = arg;
    for (size_t i = 0; i < KEYS; i++)
        set_key(l, i, config_keys[i].fallback, "default");
    s = read_file(l);
    if (s == STATUS_OK)
        read_environment(l);
    if (s == STATUS_OK && l->problems)
        s = STATUS_INVALID;
    if (s == STATUS_OK)
        s = check_addresses(l);
    if (s == STATUS_OK)
        s = check_processes(l);
    if (s == STATUS_OK)
        *out = &l->config;
    else
        config_free(&l->config);
    return s;
}

/* Keeps the first problem. */
static void keep_first(void *arg, const char *problem)
{
    char *out = arg;

    if (!*out)
        snprintf(out, 512, "%s", problem);
}

enum status config_load(const char *path, struct config **out, char problem[512])
{
    problem[0] = 0;
    return load(path, keep_first, problem, out);
}

enum status config_check(const char *path, config_report *report, void *arg)
{
    struct config *c = NULL;
    enum status s = load(path, report, arg, &c);

    config_free(c);
    return s;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    struct loaded *l = (struct loaded *)c;
    for (size_t i = 0; i < KEYS; i++)
        free(l->texts[i]);
    free(l);
}
