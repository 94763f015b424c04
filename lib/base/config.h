/*
 * config: tollgate.conf, an INI file, overridden by the environment (TOLLGATE_<SECTION>_<KEY>).
 *
 * Every key stands once in the table of config.c with type, bounds, default and a sentence; docs/configuration.md is
 * checked against it. A wrong key or value stops the start with file, line, key and what would be right. Parsed once in
 * main, const afterwards; lives as long as the process. Every program reads the same file.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/backend.h"
#include "lib/base/status.h"

#define CONFIG_PATH "/etc/tollgate/tollgate.conf"
#define CONFIG_RULES 32
#define CONFIG_PROCESSES \
    64 /* of gate and web together: a reload runs twice as many, and each is a writer of the limit table */
#define CONFIG_METERED 8
#define CONFIG_PREFIXES 16

/*
 * A configured rule: a call of this method and path also records its metric (the specification's trackEvent); where the metric is a gauge,
 * it is refused when the gauge is at its limit, and records nothing.
 */
struct config_rule {
    char method[16]; /* "*" is any */
    char path[256];  /* exact, or "/x/..." for all below /x */
    char metric[101];
    int line; /* of the file */
};

struct config {
    struct { /* [paths] */
        const char *spool_dir, *run_dir, *template_dir, *sql_dir, *share_dir;
    } paths;
    struct {                                 /* [database] */
        const char *web, *collector, *owner; /* libpq connection strings */
        int64_t connect_timeout_s, statement_timeout_s;
    } database;
    struct {                   /* [gate] */
        const char *listen[4]; /* "unix:/path", "127.0.0.1:9001", each with as many processes; unused ones NULL */
        int64_t processes;
        /* paths, checked by lib/base/address.h; unused ones NULL */
        const char *prefix[CONFIG_METERED];     /* what is metered: /api */
        const char *unmetered[CONFIG_PREFIXES]; /* below it, and let through without a key, uncounted */
        const char *key_header;                 /* "Authorization", or the name of the header that is the key */
        int64_t body_bytes;                     /* largest body that the web server lets through to a back end */
        bool admit_on_failure;
        bool nginx; /* answers denials as 403 with the real status and body in headers */
    } gate;
    struct {                         /* [web] */
        const char *listen[4];       /* JSON API, health, metrics */
        const char *pages_listen[4]; /* pages and sign-in; each address answers every route all the same */
        int64_t processes, pages_processes;
        const char *api_prefix, *page_prefix; /* where Tollgate's own API and its pages are */
        const char *public_url;      /* "https://usage.example.org": origin of links; https makes cookies Secure */
        const char *trusted_proxies; /* comma-separated addresses whose X-Forwarded-For and -Proto are believed */
        int64_t body_bytes, events_max, request_timeout_s;
        int64_t session_idle_s, session_absolute_s;
        int64_t password_memory_kib, password_passes; /* Argon2id's cost */
    } web;
    struct { /* [limits] */
        int64_t lease_percent;
    } limits;
    struct {          /* [spool] */
        int64_t sync; /* enum spool_sync */
        int64_t sync_ms, segment_bytes, segment_age_s, max_bytes, reserve_bytes, keep_minutes, keep_bytes;
    } spool;
    struct { /* [collector] */
        int64_t batch_rows, batch_ms, poll_ms, retention_months, hourly_months, rejected_days, partitions_ahead;
        int64_t endpoints_max; /* distinct normalised endpoints a tenant and day; beyond: "(other)" */
    } collector;
    struct {                  /* [storage] */
        int64_t backend_kind; /* 0: filesystem; the order of the choices */
        const char *dir;      /* a directory a tenant below it */
        int64_t interval_s;
    } storage;
    struct {              /* [process] */
        const char *user; /* whom a program started as root becomes; "": stays */
    } process;
    struct {           /* [log] */
        int64_t level; /* enum log_level */
    } log;
    size_t n_rules;
    size_t n_backends;
    struct backend backends[BACKEND_MOST];  /* [backends]: "/api/orders = http://127.0.0.1:9000" */
    struct config_rule rules[CONFIG_RULES]; /* [rules]: "POST /api/files = file_upload, storage_used_gb" */
};

/* One problem: file, line, key and what would be right, in one line of text. */
typedef void config_report(void *arg, const char *problem);

/* The file that is read for `path`: itself, or for NULL $TOLLGATE_CONF, else CONFIG_PATH. */
const char *config_path(const char *path);
/*
 * Reads config_path(path) and the environment. On STATUS_INVALID or STATUS_NOT_FOUND `problem` says file, line, key and
 * what would be right. The config is freed with config_free.
 */
MUST_CHECK enum status config_load(const char *path, struct config **out, char problem[512]);
/* Reads the same and reports every problem; STATUS_OK when there is none. */
MUST_CHECK enum status config_check(const char *path, config_report *report, void *arg);
void config_free(struct config *c);
/* Prints every key with its type, bounds, default and sentence, as docs/configuration.md has them. */
void config_print_reference(FILE *to);
/* Prints a configuration with every key commented out at its default, its sentence above. */
void config_print_sample(FILE *to);

#endif
