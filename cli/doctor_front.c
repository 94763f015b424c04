/* doctor_front.c: the web server in front: does it answer, and does anybody answer a call that the gate did not let through */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/places.h"
#include "cli/probe.h"
#include "cli/server_conf.h"
#include "lib/base/address.h"
#include "lib/base/io.h"

#define CONF_MOST (1 << 20)

struct front {
    const char *authority; /* "host:port" of the server that is called */
    size_t length;
    char host[300]; /* the header line that says for which site: web.public_url's */
};

/* A call without a key, the prefix in the place of %s; the bytes that a server's regular expressions trip over are among them. */
static const char *const odd[] = {"%s",      "%s/tollgate-doctor",  "%s/tollgate-doctor;%%80",
                                  "%s/%%c3", "/%s/tollgate-doctor", "%s/tollgate-doctor;\x80"};
static const char *const forged[] = {"X-Tenant-ID: tollgate-doctor", "X-Tollgate-Tier: forged",
                                     "X-Tollgate-Gate: metered"};
#define FORGED (sizeof(forged) / sizeof(forged[0]))

static bool is_refusal(int status)
{
    return status == 400 || status == 401 || status == 403 || status == 404;
}

/* False when the server said what ends the looking. */
static bool knock(struct doctor *d, const struct front *f, const char *prefix, const char *form, bool with_forged)
{
    const char *headers[FORGED + 2] = {f->host};
    char path[512];
    const char *base = address_base(prefix);
    int status = 0;
    bool plain = form == odd[1] && !with_forged;

    /* the form is one of the table's */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(path, sizeof(path), form, base);
#pragma GCC diagnostic pop
    if (with_forged)
        memcpy(headers + 1, forged, sizeof(forged));
    if (!*path || probe_http(f->authority, f->length, "80", path, headers, &status) != PROBE_ANSWERS)
        return true; /* a server may close without a word */
    for (char *p = path; *p; p++)
        if ((unsigned char)*p >= 0x7f)
            *p = '?';
    if (status == 503) {
        doctor_line(
            d, false, "doors",
            "%s gets 503 without a key: the gate does not answer, or something in the web server's configuration takes "
            "its place; make the configuration again (`tollgate config`) and look for that",
            path);
        return false;
    }
    if (plain ? status == 401 : is_refusal(status))
        return true;
    doctor_line(
        d, false, "doors",
        "%s gets %d without a key%s: it bypasses the gate; make the web server's configuration again (`tollgate "
        "config`), and compare what else it says about this path",
        path, status, with_forged ? ", with forged headers" : "");
    return false;
}

static bool try_prefix(struct doctor *d, const struct front *f, const char *prefix)
{
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        if (!knock(d, f, prefix, odd[i], false) || !knock(d, f, prefix, odd[i], true))
            return false;
    return true;
}

/* Every metered prefix, and every back end that asks for a key. */
static void try_doors(struct doctor *d, const struct front *f)
{
    const struct config *c = d->config;
    size_t tried = 0;
    bool ok = true;

    for (size_t i = 0; i < CONFIG_METERED && c->gate.prefix[i]; i++, tried++)
        ok = try_prefix(d, f, c->gate.prefix[i]) && ok;
    for (size_t i = 0; i < c->n_backends; i++)
        if (address_of(c, c->backends[i].path) == ADDRESS_METERED) {
            ok = try_prefix(d, f, c->backends[i].path) && ok;
            tried++;
        }
    if (ok)
        doctor_line(d, true, "doors", "%zu metered paths were called without a key, in %zu spellings: all refused",
                    tried, sizeof(odd) / sizeof(odd[0]));
}

/* ---- the configuration ---- */

/* Behind the first line, which says of what file it was made. */
static const char *second_line(const char *text)
{
    const char *end = strchr(text, '\n');

    return end ? end + 1 : text;
}

static void compare(struct doctor *d, const struct server_conf *s)
{
    struct buffer now;
    char problem[512], *installed = NULL;
    size_t length;

    buffer_init(&now, 0);
    if (io_read_file(s->enabled, CONF_MOST, &installed, &length) == STATUS_OK &&
        server_conf_render(s, d->config, config_path(d->cli->config_path), &now, problem) == STATUS_OK) {
        buffer_add(&now, "", 1);
        bool same = !now.failed && strcmp(second_line(installed), second_line(now.data)) == 0;

        doctor_line(
            d, same, "web conf",
            same ? "%s is what tollgate.conf says"
                 : "%s is not what tollgate.conf says now: make it again with `tollgate config %s%s%s`, and reload "
                   "the web server",
            s->enabled, s->server, *s->part ? " " : "", s->part);
    }
    free(installed);
    buffer_term(&now);
}

void doctor_front(struct doctor *d, const char *url)
{
    const char *at = strstr(url, "://");
    struct front f = {.authority = at ? at + 3 : NULL, .length = at ? strcspn(at + 3, "/?#") : 0};
    const char *site = strstr(d->config->web.public_url, "://");
    char healthz[256];
    int status = 0;

    site = site ? site + 3 : f.authority;
    snprintf(f.host, sizeof(f.host), "Host: %.*s", site ? (int)strcspn(site, "/?#") : 0, site ? site : "");
    for (size_t i = 0; i < server_n_confs; i++)
        compare(d, &server_confs[i]);
    if (!at)
        return;
    if (strncmp(url, "https", 5) == 0) { /* whether what is behind the encryption answers is not asked */
        bool ok = probe_connects(f.authority, f.length, "443");

        doctor_line(d, ok, "web server",
                    ok ? "takes connections at %s; what it answers is not asked over TLS: `tollgate doctor --at "
                         "http://127.0.0.1` asks"
                       : "nothing listens at %s (web.public_url): start the web server",
                    url);
        return;
    }
    snprintf(healthz, sizeof(healthz), "%s/healthz", address_base(d->config->web.page_prefix));
    switch (probe_http(f.authority, f.length, "80", healthz, (const char *const[]){f.host, NULL}, &status)) {
    case PROBE_NOTHING:
        doctor_line(d, false, "web server", "nothing listens at %s (web.public_url): start the web server", url);
        break;
    case PROBE_SILENT:
        doctor_line(d, false, "web server", "takes connections at %s but does not answer %s: look into its log", url,
                    healthz);
        break;
    default:
        doctor_line(d, status == 200, "web server",
                    status == 200 ? "answers %s at %s"
                                  : "answers %s at %s with %d: it does not reach tollgate-web; compare its "
                                    "configuration with [web] listen",
                    healthz, url, status);
        if (status == 200)
            try_doors(d, &f);
    }
}
