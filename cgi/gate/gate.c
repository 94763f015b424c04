/* gate.c: identify the caller, decide, append, answer */
#include "cgi/gate/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "lib/base/address.h"
#include "lib/base/clock.h"
#include "lib/base/json_write.h"
#include "lib/base/log.h"
#include "lib/meter/apikey.h"
#include "lib/meter/endpoint.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/meter/spool/spool.h"
#include "lib/meter/standing.h"

#define CALL_METRIC "api_call"
#define ASKS_MAX 8       /* api_call and the metrics of matching rules */
#define ENDPOINT_MAX 512 /* bytes of the path in an event's metadata */
#define METADATA_SIZE 2048
#define KNOWN_CALLERS 512 /* a power of two */
#define KNOWN_US (15 * 60 * CLOCK_US_PER_SECOND)
#define REOPEN_US (CLOCK_US_PER_SECOND / 10) /* a missing table is looked for so often */

/* A caller that was identified: goes on being known while the table is rebuilt. */
struct caller {
    unsigned char hash[LIMIT_HASH_BYTES];
    char key_id[LIMIT_KEY_ID_SIZE];
    char tenant[LIMIT_TENANT_SIZE], tier[LIMIT_TIER_SIZE];
    int64_t seen_us, expires_us;
};

struct gate {
    const struct config *config;
    struct limit_table *table; /* NULL while there is none */
    struct spool_writer *spool;
    struct limit_catalogue catalogue;
    uint64_t catalogue_version; /* of this table */
    uint32_t left_out;          /* bits of the rules that the log has named */
    int64_t reopen_at_us;
    int64_t complained_us;
    uint64_t number;
    struct caller known[KNOWN_CALLERS];
    struct apikey_source source;
    char challenge[2][256]; /* header lines of a 401: without a key, with a wrong one */
    struct answer_problem key_missing, key_unknown, key_expired;
};

/* One call on its way; lives on the stack of gate_answer. */
struct call {
    const char *uri, *method, *key_header, *tenant_header, *accept;
    int tenant_headers, key_headers;
    bool reserved; /* a header X-Tollgate-…, which nginx can't take away */
    bool again;    /* asked of another table before */
    char path[ENDPOINT_PATH_SIZE];
    size_t path_length;
    enum address address;
    unsigned char hash[LIMIT_HASH_BYTES];
    struct limit_key key;
    uint32_t tenant;
    int64_t now_us;
    size_t n_asks;
    struct limit_ask asks[ASKS_MAX];
    const struct config_rule *rules[ASKS_MAX]; /* of asks[1…] */
    struct limit_answer taken;
    struct answer_form form;
};

#define SOON_HEADER "Retry-After: 1\r\n"

static const struct answer_problem
    path_ambiguous =
        {400, "path_ambiguous", "The path can be read in more than one way",
         "Send it without encoded slashes, control characters or broken percent signs, and within 2,000 bytes.", NULL},
    tenant_repeated = {400, "tenant_header", "X-Tenant-ID is not a single tenant",
                       "Send the header once, with one tenant's id.", NULL},
    header_reserved = {400, "header_reserved", "Clients may not send X-Tollgate-* headers", "Leave it out.", NULL},
    scope_missing = {403, "scope_missing", "This key may not call the API", "Use a key with the scope call.", NULL},
    tenant_foreign = {403, "tenant_foreign", "This key belongs to another tenant",
                      "Leave X-Tenant-ID out, or send your own tenant's id.", NULL},
    tenant_unknown = {404, "tenant_unknown", "There is no tenant with this id", "Check X-Tenant-ID.", NULL},
    suspended = {LIMIT_STATUS_SUSPENDED, "suspended", "This tenant is suspended", "Ask the operator of this service.",
                 NULL},
    no_subscription = {LIMIT_STATUS_NO_SUBSCRIPTION, "no_subscription", "This tenant has no subscription",
                       "Ask the operator for a plan.", NULL},
    metric_unknown = {LIMIT_STATUS_METRIC_UNKNOWN, "metric_unknown", "A rule names a metric that does not exist",
                      "The operator has to create the metric or change the rule.", NULL},
    unavailable = {503, "unavailable", "The call could not be checked", "Try again in a second.", SOON_HEADER};

static const struct refusal {
    enum limit_reason reason;
    const struct answer_problem *problem;
} refusals[] = {
    {LIMIT_SUSPENDED, &suspended},
    {LIMIT_NO_SUBSCRIPTION, &no_subscription},
    {LIMIT_METRIC_UNKNOWN, &metric_unknown},
};

/* The answers to a missing or wrong key, which name the header that the key belongs in. */
static void prepare_problems(struct gate *g)
{
    snprintf(g->challenge[0], sizeof(g->challenge[0]), "WWW-Authenticate: %s\r\n", g->source.challenge);
    snprintf(g->challenge[1], sizeof(g->challenge[1]), "WWW-Authenticate: %s, error=\"invalid_token\"\r\n",
             g->source.challenge);
    g->key_missing = (struct answer_problem){401, "key_missing", "No API key", g->source.advice, g->challenge[0]};
    g->key_unknown = (struct answer_problem){401, "key_unknown", "The API key is not known",
                                             "Check the key, or ask an administrator for a new one.", g->challenge[1]};
    g->key_expired = (struct answer_problem){401, "key_expired", "The API key has expired or was revoked",
                                             "Ask an administrator for a new key.", g->challenge[1]};
}

enum status gate_open(const struct config *config, struct gate **out)
{
    enum status s = STATUS_NO_MEMORY;
    struct gate *g = calloc(1, sizeof(*g));
    if (!g)
        return s;
    g->config = config;
    apikey_source_init(&g->source, config->gate.key_header);
    prepare_problems(g);
    randombytes_buf(&g->number, sizeof(g->number));
    struct spool_options options = {
        .dir = config->paths.spool_dir,
        .kind = SPOOL_GATE,
        .sync = (enum spool_sync)config->spool.sync,
        .segment_bytes = (size_t)config->spool.segment_bytes,
        .segment_age_us = config->spool.segment_age_s * CLOCK_US_PER_SECOND,
        .max_bytes = (uint64_t)config->spool.max_bytes,
    };
    s = spool_writer_open(&options, &g->spool);
    if (s != STATUS_OK) {
        gate_close(g);
        return s;
    }
    *out = g;
    return STATUS_OK;
}

void gate_close(struct gate *g)
{
    if (!g)
        return;
    if (g->table)
        limit_table_close(g->table);
    spool_writer_close(g->spool);
    free(g);
}

/* At most once in ten seconds: what fails at every call must not fill the log. */
static void complain(struct gate *g, const char *what, enum status s)
{
    int64_t now = clock_mono_us();
    if (g->complained_us && now - g->complained_us < 10 * CLOCK_US_PER_SECOND)
        return;
    g->complained_us = now;
    log_error("%s: %s", what, status_text(s));
}

/* The table in force, opened anew when the collector made another. */
static bool table_here(struct gate *g)
{
    if (g->table && !limit_table_stale(g->table))
        return true;
    int64_t now = clock_mono_us();
    if (now < g->reopen_at_us)
        return g->table;
    g->reopen_at_us = now + REOPEN_US;
    struct limit_table *fresh = NULL;
    enum status s = limit_table_open(g->config->paths.run_dir, &fresh);
    if (s == STATUS_OK)
        s = limit_table_join(fresh);
    if (s != STATUS_OK) {
        complain(g, "limit table", s);
        limit_table_close(fresh);
        return g->table;
    }
    if (g->table)
        limit_table_close(g->table);
    g->table = fresh;
    g->catalogue_version = 0;
    g->reopen_at_us = 0;
    return true;
}

/* ---- reading the call ---- */

static bool is_variable(const char *pair, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(pair, name, n) != 0 || pair[n] != '=')
        return false;
    *value = pair + n + 1;
    return true;
}

/* nginx can't take headers away by pattern, and a location of the operator's may name none of them: a client sends none. */
static bool is_reserved(const char *pair)
{
    static const char prefix[] = "HTTP_X_TOLLGATE_";
    return strncmp(pair, prefix, sizeof(prefix) - 1) == 0;
}

static void read_call(struct call *c, char *const *environment, const struct gate *g)
{
    const char *value;
    memset(c, 0, offsetof(struct call, path));
    memset(&c->form, 0, sizeof(c->form));
    c->n_asks = 0;
    for (; *environment; environment++) {
        if (is_variable(*environment, "REQUEST_URI", &value)) {
            c->uri = value;
        } else if (is_variable(*environment, "REQUEST_METHOD", &value)) {
            c->method = value;
        } else if (is_variable(*environment, g->source.variable, &value)) {
            c->key_header = value;
            c->key_headers++;
        } else if (is_variable(*environment, "HTTP_ACCEPT", &value)) {
            c->accept = value;
        } else if (is_variable(*environment, "HTTP_X_TENANT_ID", &value)) {
            c->tenant_header = value;
            c->tenant_headers++;
        } else if (g->config->gate.nginx && is_reserved(*environment)) {
            c->reserved = true;
        }
    }
    if (!c->uri)
        c->uri = "";
    if (!c->method)
        c->method = "";
    c->now_us = clock_wall_us();
    c->form.head = strcmp(c->method, "HEAD") == 0;
    c->form.html = c->accept && strncmp(c->accept, "text/html", 9) == 0;
    c->form.nginx = g->config->gate.nginx;
    c->form.pages = address_base(g->config->web.page_prefix);
}

static bool is_metered(enum address address)
{
    return address == ADDRESS_METERED || address == ADDRESS_API_METERED;
}

/*
 * What the path is. False when it can't be read in one way only; when it was sent below a metered prefix and is not below it
 * once resolved ("/api/../x"), so that a web server that asks about it has read it the other way; and when it is not metered
 * at all, so that a web server that asks has made another path of it.
 */
static bool locate(const struct config *config, struct call *c)
{
    if (endpoint_resolve(c->uri, c->path, &c->path_length) != STATUS_OK)
        return false;
    c->address = address_of(config, c->path);
    if (c->address == ADDRESS_OUTSIDE || c->address == ADDRESS_PAGE)
        return false;
    for (size_t i = 0; !is_metered(c->address) && i < CONFIG_METERED && config->gate.prefix[i]; i++)
        if (address_below(c->uri, config->gate.prefix[i]) && !address_below(c->path, config->gate.prefix[i]))
            return false;
    return true;
}

/* ---- identifying ---- */

static struct caller *known_slot(struct gate *g, const unsigned char hash[LIMIT_HASH_BYTES])
{
    return &g->known[(hash[0] | hash[1] << 8) & (KNOWN_CALLERS - 1)];
}

static void remember(struct gate *g, const struct call *c)
{
    struct caller *k = known_slot(g, c->hash);
    if (c->key.is_operator)
        return;
    if (c->now_us - k->seen_us < CLOCK_US_PER_SECOND && memcmp(k->hash, c->hash, sizeof(k->hash)) == 0)
        return;
    memcpy(k->hash, c->hash, sizeof(k->hash));
    memcpy(k->key_id, c->key.id, sizeof(k->key_id));
    memcpy(k->tenant, c->taken.tenant, sizeof(k->tenant));
    memcpy(k->tier, c->taken.tier, sizeof(k->tier));
    k->seen_us = c->now_us;
    k->expires_us = c->key.expires_us;
}

/*
 * The tenant that X-Tenant-ID names against the key's. NULL: c->tenant is set, or `uncounted` (an operator's own call).
 */
static const struct answer_problem *choose_tenant(struct gate *g, struct call *c, bool *uncounted)
{
    uint32_t named = 0;
    *uncounted = false;
    c->tenant = c->key.tenant;
    if (!c->tenant_header) {
        *uncounted = c->key.is_operator;
        return NULL;
    }
    enum status s = limit_table_tenant_index(g->table, c->tenant_header, strlen(c->tenant_header), &named);
    if (s != STATUS_OK && s != STATUS_NOT_FOUND)
        return &unavailable;
    if (c->key.is_operator) {
        c->tenant = named;
        return s == STATUS_OK ? NULL : &tenant_unknown;
    }
    return s == STATUS_OK && named == c->key.tenant ? NULL : &tenant_foreign;
}

static const struct answer_problem *identify(struct gate *g, struct call *c)
{
    enum status s = limit_table_key(g->table, c->hash, &c->key);
    if (s == STATUS_NOT_FOUND)
        return limit_table_is_ready(g->table) ? &g->key_unknown : &unavailable;
    if (s != STATUS_OK)
        return &unavailable;
    if (c->key.revoked || c->key.expires_us <= c->now_us)
        return &g->key_expired;
    if (!(c->key.scopes & LIMIT_SCOPE_CALL))
        return &scope_missing;
    return NULL;
}

/* ---- deciding ---- */

/*
 * Apache hands a method in lower case on, and many back ends take it, and a path with a slash behind it, for the same: neither
 * may leave a rule out.
 */
static bool rule_matches(const struct config_rule *r, const char *method, const char *path)
{
    if (strcmp(r->method, "*") != 0 && strcasecmp(r->method, method) != 0)
        return false;
    size_t n = strlen(r->path);
    if (n > 4 && strcmp(r->path + n - 4, "/...") == 0)
        return strncmp(path, r->path, n - 3) == 0;
    return strncmp(path, r->path, n) == 0 && (!path[n] || strcmp(path + n, "/") == 0);
}

static bool is_gauge(const struct gate *g, const char *metric)
{
    int index = limit_table_metric(&g->catalogue, metric, strlen(metric));
    return index >= 0 && g->catalogue.metrics[index].kind == LIMIT_KIND_GAUGE;
}

/* A rule of a counter that Tollgate counts itself is left out; the log says so once. */
static bool rule_is_left_out(struct gate *g, size_t i)
{
    const struct config_rule *r = &g->config->rules[i];
    int metric = limit_table_metric(&g->catalogue, r->metric, strlen(r->metric));

    if (metric < 0 || limit_table_for_rules(&g->catalogue, metric))
        return false;
    if (!(g->left_out & UINT32_C(1) << i))
        log_warning(
            "the rule \"%s %s = %s\" is left out: Tollgate counts %s itself; remove line %d of the configuration",
            r->method, r->path, r->metric, r->metric, r->line);
    g->left_out |= UINT32_C(1) << i;
    return true;
}

static bool add_ask(struct gate *g, struct call *c, const char *metric, const struct config_rule *rule)
{
    int index = limit_table_metric(&g->catalogue, metric, strlen(metric));
    if (index < 0)
        return false;
    c->rules[c->n_asks] = rule;
    c->asks[c->n_asks++] = (struct limit_ask){.metric = (uint8_t)index, .amount = standing_amount(is_gauge(g, metric))};
    return true;
}

/* The rules that this call meets, by the last catalogue that was seen, if any: what to record when there is no table. */
static void ask_blindly(struct gate *g, struct call *c)
{
    c->n_asks = 1;
    c->rules[0] = NULL;
    for (size_t i = 0; i < g->config->n_rules && c->n_asks < ASKS_MAX; i++)
        if (rule_matches(&g->config->rules[i], c->method, c->path) && !rule_is_left_out(g, i) &&
            !is_gauge(g, g->config->rules[i].metric))
            c->rules[c->n_asks++] = &g->config->rules[i];
}

/* api_call and what the configured rules add; false when a metric is not in the catalogue. */
static bool ask(struct gate *g, struct call *c)
{
    if (!add_ask(g, c, CALL_METRIC, NULL))
        return false;
    for (size_t i = 0; i < g->config->n_rules && c->n_asks < ASKS_MAX; i++) {
        const struct config_rule *r = &g->config->rules[i];
        if (rule_matches(r, c->method, c->path) && !rule_is_left_out(g, i) && !add_ask(g, c, r->metric, r))
            return false;
    }
    return true;
}

/* ---- appending ---- */

/* At most `most` bytes of `text`; percent signs for what isn't printable ASCII: paths hold no more, but for what was decoded. */
static const char *printable(char *out, size_t room, const char *text, size_t most)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < most && text[i] && n + 4 < room; i++) {
        unsigned char ch = (unsigned char)text[i];
        if (ch < 0x20 || ch >= 0x7f)
            out[n++] = '%', out[n++] = hex[ch >> 4], out[n++] = hex[ch & 15];
        else
            out[n++] = (char)ch;
    }
    out[n] = '\0';
    return out;
}

static size_t describe(char out[METADATA_SIZE], const struct call *c, const char *key_id,
                       const struct config_rule *rule)
{
    char text[3 * ENDPOINT_MAX / 2], name[ENDPOINT_NAME_SIZE];
    struct json_write w;
    json_write_begin(&w, out, METADATA_SIZE);
    json_write_text(&w, "endpoint", printable(text, sizeof(text), c->path, ENDPOINT_MAX));
    json_write_text(&w, "method", printable(text, sizeof(text), c->method, 16));
    if (rule) {
        snprintf(text, sizeof(text), "%s %s", rule->method, rule->path);
        json_write_text(&w, "rule", text);
    } else {
        clock_rfc3339(text, c->now_us, 0, 1);
        json_write_text(&w, "timestamp", text);
        endpoint_normalise(c->path, c->path_length, name);
        json_write_text(&w, "normalized", printable(text, sizeof(text), name, sizeof(name)));
        json_write_text(&w, "key", key_id);
    }
    return json_write_end(&w);
}

static struct text text_of(const char *s)
{
    return (struct text){s, strlen(s)};
}

/* One write for the call and what its rules record; one that asks for room in a gauge records nothing. */
static enum status append(struct gate *g, const struct call *c, const char *tenant, const char *key_id, bool counted)
{
    struct event events[ASKS_MAX];
    char metadata[ASKS_MAX][METADATA_SIZE];
    size_t n = 0, asked = c->n_asks ? c->n_asks : 1;
    for (size_t i = 0; i < asked; i++) {
        const char *metric = i && c->rules[i] ? c->rules[i]->metric : CALL_METRIC;
        if (counted && c->asks[i].amount == 0)
            continue;
        events[n] = (struct event){
            .tenant = text_of(tenant),
            .metric = text_of(metric),
            .metadata = {metadata[n], describe(metadata[n], c, key_id, i ? c->rules[i] : NULL)},
            .recorded_us = c->now_us,
            .value = EVENT_MILLION,
            .flags = counted ? limit_table_flags(g->table, &c->taken, c->asks[i].metric) : 0,
        };
        n++;
    }
    return spool_append(g->spool, events, n, false);
}

/* The spool can't be written: count in the table instead, or refuse. */
static bool go_on_degraded(struct gate *g, const struct call *c)
{
    if (!g->config->gate.admit_on_failure)
        return false;
    for (size_t i = 0; i < c->n_asks; i++)
        if (c->asks[i].amount &&
            limit_table_degraded_add(g->table, c->tenant, c->asks[i].metric, c->asks[i].amount) != STATUS_OK)
            return false;
    return true;
}

/*
 * No table to decide by. Who was identified lately goes on, uncounted in the table but recorded, when on_failure says
 * admit: the collector adds the records, because they lack EVENT_COUNTED. Whoever is not known waits.
 */
static enum limit_result without_table(struct gate *g, struct call *c, struct answer *a)
{
    struct caller *k = known_slot(g, c->hash);
    bool same = sodium_memcmp(k->hash, c->hash, sizeof(k->hash)) == 0;
    ask_blindly(g, c);
    if (!g->config->gate.admit_on_failure || !same || c->now_us - k->seen_us > KNOWN_US || k->expires_us <= c->now_us ||
        (c->tenant_header && strcmp(c->tenant_header, k->tenant) != 0) ||
        append(g, c, k->tenant, k->key_id, false) != STATUS_OK) {
        answer_refuse(a, &c->form, &unavailable);
        return LIMIT_RESULT_UNAVAILABLE;
    }
    memset(&c->taken, 0, sizeof(c->taken));
    memcpy(c->taken.tenant, k->tenant, sizeof(k->tenant));
    memcpy(c->taken.tier, k->tier, sizeof(k->tier));
    c->taken.decisive = -1;
    answer_admit(a, &g->catalogue, &c->taken, c->now_us);
    return LIMIT_RESULT_DEGRADED;
}

static enum limit_result metered_again(struct gate *g, struct call *c, struct answer *a);

static enum limit_result take_and_append(struct gate *g, struct call *c, struct answer *a)
{
    enum status s = limit_table_decide_key(g->table, c->tenant, c->key.id, c->asks, c->n_asks, c->now_us, true,
                                           &c->taken);
    if (s == STATUS_UNAVAILABLE && !c->again && limit_table_stale(g->table))
        return metered_again(g, c, a);
    if (s != STATUS_OK) {
        complain(g, "decision", s);
        return without_table(g, c, a);
    }
    if (c->taken.reason == LIMIT_REACHED) {
        answer_limited(a, &c->form, &g->catalogue, &c->taken, c->now_us);
        return LIMIT_RESULT_LIMITED;
    }
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (c->taken.reason == refusals[i].reason) {
            answer_refuse(a, &c->form, refusals[i].problem);
            return LIMIT_RESULT_FORBIDDEN;
        }
    enum limit_result result = LIMIT_RESULT_ADMITTED;
    s = append(g, c, c->taken.tenant, c->key.id, true);
    if (s != STATUS_OK) {
        complain(g, "spool", s);
        if (!go_on_degraded(g, c)) {
            if (limit_table_undo(g->table, c->tenant, c->asks, c->n_asks, &c->taken) != STATUS_OK)
                complain(g, "limit table", STATUS_DAMAGED);
            answer_refuse(a, &c->form, &unavailable);
            return LIMIT_RESULT_UNAVAILABLE;
        }
        result = LIMIT_RESULT_DEGRADED;
    }
    limit_table_done(g->table);
    remember(g, c);
    answer_admit(a, &g->catalogue, &c->taken, c->now_us);
    return result;
}

static enum limit_result result_of(const struct answer_problem *p)
{
    switch (p->status) {
    case 400:
        return LIMIT_RESULT_BAD_REQUEST;
    case 401:
        return LIMIT_RESULT_UNAUTHORIZED;
    case 404:
        return LIMIT_RESULT_NOT_FOUND;
    case 503:
        return LIMIT_RESULT_UNAVAILABLE;
    default:
        return LIMIT_RESULT_FORBIDDEN;
    }
}

static enum limit_result refuse(struct call *c, struct answer *a, const struct answer_problem *p)
{
    answer_refuse(a, &c->form, p);
    return result_of(p);
}

/* What the table says of the call. */
static enum limit_result by_table(struct gate *g, struct call *c, struct answer *a)
{
    bool uncounted;
    if (!table_here(g) || limit_table_catalogue(g->table, &g->catalogue, &g->catalogue_version) != STATUS_OK)
        return without_table(g, c, a);

    const struct answer_problem *problem = identify(g, c);
    if (problem == &unavailable)
        return without_table(g, c, a);
    if (!problem)
        problem = choose_tenant(g, c, &uncounted);
    if (problem)
        return refuse(c, a, problem);
    if (uncounted) {
        answer_pass(a, false);
        return LIMIT_RESULT_PASSED;
    }
    if (!ask(g, c))
        return refuse(c, a, &metric_unknown);
    return take_and_append(g, c, a);
}

/* Another table has just taken the place of the one that was asked: it holds the counts. */
static enum limit_result metered_again(struct gate *g, struct call *c, struct answer *a)
{
    c->again = true;
    c->n_asks = 0;
    g->reopen_at_us = 0;
    return by_table(g, c, a);
}

static enum limit_result metered(struct gate *g, struct call *c, struct answer *a)
{
    char room[APIKEY_ROOM];
    const char *key;
    size_t length;
    if (c->key_headers != 1 || !apikey_find(&g->source, c->key_header, room, &key, &length))
        return refuse(c, a, &g->key_missing);
    if (apikey_hash(key, length, c->hash) != STATUS_OK)
        return refuse(c, a, &g->key_unknown);
    if (c->tenant_headers > 1 || (c->tenant_header && (!*c->tenant_header || strchr(c->tenant_header, ','))))
        return refuse(c, a, &tenant_repeated);
    return by_table(g, c, a);
}

void gate_answer(struct gate *g, char *const *environment, int64_t began_us, struct answer *answer)
{
    struct call c;
    enum limit_result result;
    read_call(&c, environment, g);
    c.form.number = g->number += UINT64_C(0x9e3779b97f4a7c15); /* Weyl sequence: distinct, and no system call */
    if (!locate(g->config, &c)) {
        result = refuse(&c, answer, &path_ambiguous);
    } else if (c.reserved) {
        result = refuse(&c, answer, &header_reserved);
    } else if (is_metered(c.address)) {
        result = metered(g, &c, answer);
    } else {
        answer_pass(answer, c.address == ADDRESS_API);
        result = LIMIT_RESULT_PASSED;
    }
    if (g->table)
        limit_table_observe(g->table, result, clock_mono_us() - began_us);
}
