/* server_conf.c: filling the templates of the web servers' configuration */
#include "cli/server_conf.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/places.h"
#include "lib/base/address.h"
#include "lib/web/template.h"

#define TEXT_SIZE 600

const struct server_conf server_confs[] = {
    {"lighttpd", "", "lighttpd-conf/tollgate.conf.tpl", "/etc/lighttpd/conf-available/99-tollgate.conf",
     "/etc/lighttpd/conf-enabled/99-tollgate.conf"},
    {"apache", "server", "apache-conf/server.conf.tpl", "/etc/apache2/conf-available/tollgate.conf",
     "/etc/apache2/conf-enabled/tollgate.conf"},
    {"apache", "vhost", "apache-conf/vhost.conf.tpl", "/etc/tollgate/apache-vhost.conf",
     "/etc/tollgate/apache-vhost.conf"},
    {"nginx", "http", "nginx-conf/http.conf.tpl", "/etc/nginx/conf.d/tollgate.conf", "/etc/nginx/conf.d/tollgate.conf"},
    {"nginx", "server", "nginx-conf/server.conf.tpl", "/etc/nginx/snippets/tollgate.conf",
     "/etc/nginx/snippets/tollgate.conf"},
};
const size_t server_n_confs = sizeof(server_confs) / sizeof(server_confs[0]);

enum kind { LIGHTTPD, APACHE, NGINX };

struct filling {
    const struct config *config;
    enum kind kind;
    struct template_dict *dict;
    struct places places;
    char *problem;
};

#define refuse(f, ...) status_say(STATUS_INVALID, (f)->problem, __VA_ARGS__)

/* ---- addresses ---- */

static bool is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

/* As lighttpd writes them: "socket" => "/path", or "host" => "127.0.0.1", "port" => 9000. */
static void lighttpd_address(const char *address, char out[TEXT_SIZE])
{
    const char *colon = strrchr(address, ':'), *host = address[0] == '[' ? address + 1 : address;

    if (is_unix(address))
        snprintf(out, TEXT_SIZE, "\"socket\" => \"%s\"", address + 5);
    else
        snprintf(out, TEXT_SIZE, "\"host\" => \"%.*s\", \"port\" => %s",
                 (int)strcspn(host, "]") < (int)(colon - host) ? (int)strcspn(host, "]") : (int)(colon - host), host,
                 colon + 1);
}

/* The beginning of a worker's URL, to which the path is added; `name` stands for a socket's host. */
static void apache_address(const char *scheme, const char *name, const char *address, char out[TEXT_SIZE])
{
    if (is_unix(address))
        snprintf(out, TEXT_SIZE, "%s|%s://%s", address, scheme, name);
    else
        snprintf(out, TEXT_SIZE, "%s://%s", scheme, address);
}

/* In quotes for the blank that a path may have; `http` adds the colon that ends a socket's path in proxy_pass. */
static void nginx_address(const char *address, bool http, char out[TEXT_SIZE])
{
    if (is_unix(address))
        snprintf(out, TEXT_SIZE, http ? "%s:" : "\"%s\"", address);
    else
        snprintf(out, TEXT_SIZE, "%s", address);
}

static void write_address(const struct filling *f, bool fastcgi, const char *name, const char *address,
                          char out[TEXT_SIZE])
{
    switch (f->kind) {
    case LIGHTTPD:
        lighttpd_address(address, out);
        break;
    case APACHE:
        apache_address(fastcgi ? "fcgi" : "http", fastcgi ? name : "localhost", address, out);
        break;
    default:
        nginx_address(address, !fastcgi, out);
    }
}

/* The address of one of Tollgate's own programs that this server can speak to: a socket before a port, for Apache's gate a port. */
static enum status own_address(struct filling *f, const char *slot, const char *key, const char *const listen[4],
                               bool tcp_only)
{
    const char *found = NULL;
    char text[TEXT_SIZE];

    for (size_t i = 0; i < 4 && listen[i]; i++)
        if (tcp_only ? !found && !is_unix(listen[i]) : !found || (is_unix(listen[i]) && !is_unix(found)))
            found = listen[i];
    if (!found && tcp_only)
        return refuse(f, "%s: Apache asks the gate over TCP only; add an address such as 127.0.0.1:9001", key);
    if (!found)
        return refuse(f, "%s is empty; name an address", key);
    if (!backend_address_is_plain(found))
        return refuse(f, "%s: a web server's configuration can't carry \"%.200s\"; use letters, digits and ._~-/:@+,",
                      key, found);
    if (f->kind == APACHE && tcp_only)
        snprintf(text, sizeof(text), "%s", found);
    else
        write_address(f, true, strcmp(slot, "WEB_ADDRESS") == 0 ? "tollgate-web" : "tollgate-pages", found, text);
    template_set_everywhere(f->dict, slot, text);
    return STATUS_OK;
}

/* ---- trusted proxies ---- */

static bool is_address_or_net(const char *text)
{
    unsigned char bytes[16];
    char address[64], *end, *slash;
    long bits;

    if (strlen(text) >= sizeof(address))
        return false;
    strcpy(address, text);
    slash = strchr(address, '/');
    if (slash)
        *slash = '\0';
    bool v4 = inet_pton(AF_INET, address, bytes) == 1, v6 = inet_pton(AF_INET6, address, bytes) == 1;
    if (!slash)
        return v4 || v6;
    bits = strtol(slash + 1, &end, 10);
    return (v4 || v6) && end != slash + 1 && !*end && bits >= 0 && bits <= (v4 ? 32 : 128);
}

static enum status fill_proxies(struct filling *f)
{
    char list[1024], *rest = list, *one;
    struct template_dict *section = NULL;

    if (strlen(f->config->web.trusted_proxies) >= sizeof(list))
        return refuse(f, "web.trusted_proxies is too long; name networks such as 10.0.0.0/8");
    strcpy(list, f->config->web.trusted_proxies);
    while ((one = strtok_r(rest, ", \t", &rest))) {
        if (!is_address_or_net(one))
            return refuse(f, "web.trusted_proxies: \"%.100s\" is not an address such as 10.0.0.1 or 10.0.0.0/8", one);
        if (!section)
            section = template_section(f->dict, "PROXIES");
        template_set(template_section(section, "PROXY"), "ADDRESS", one);
    }
    if (!section)
        template_show(f->dict, "NO_PROXIES");
    return STATUS_OK;
}

/* ---- regions and places ---- */

/* "/api.v1" as a regular expression of nginx's map: what address_is_path allows, with the dot meant as a dot. */
static void pattern_of(const char *path, char out[TEXT_SIZE])
{
    size_t n = 0;

    for (path = address_base(path); *path && n + 3 < TEXT_SIZE; path++) {
        if (*path == '.')
            out[n++] = '\\';
        out[n++] = *path;
    }
    out[n] = '\0';
}

static void show_kind(struct filling *f, struct template_dict *d, const struct place *p)
{
    static const char *const names[] = {
        [PLACE_WEB] = "WEB", [PLACE_PAGES] = "PAGES", [PLACE_STATIC] = "STATIC", [PLACE_REST] = "REST"};
    struct template_dict *inner;
    char address[TEXT_SIZE];

    template_show(d, p->metered ? "METERED" : "FREE");
    if (p->answer == PLACE_BACKEND) {
        write_address(f, p->backend->fastcgi, "back-end", p->backend->address, address);
        inner = template_section(d, p->backend->fastcgi ? "FASTCGI" : "HTTP");
        template_set(inner, "ADDRESS", address);
    } else if (p->answer != PLACE_REGION) {
        inner = template_section(d, names[p->answer]);
        if (p->counted)
            template_show(inner, "COUNTED");
        if (p->metered)
            template_show(inner, "GATED");
    }
}

/* One block of the server's: `match` is how it says which paths. */
static void add_block(struct filling *f, const char *section, const struct place *p, const char *match, bool first)
{
    struct template_dict *d = template_section(f->dict, section);
    char pattern[TEXT_SIZE];

    pattern_of(p->path, pattern);
    template_set(d, "PATTERN", pattern);
    template_set(d, "PATH", p->path);
    template_set(d, "MATCH", match);
    template_set(d, "ELSE", first ? "" : "else ");
    show_kind(f, d, p);
}

/* The path itself, and what is below it: two blocks where the server has no one word for both. */
static void add_blocks(struct filling *f, const char *section, const struct place *p, bool *first)
{
    const char *base = address_base(p->path);
    bool below = !p->alone, itself = *base && p->answer != PLACE_STATIC;
    char match[TEXT_SIZE];

    if (f->kind == APACHE || (f->kind == NGINX && p->answer == PLACE_REGION)) {
        add_block(f, section, p, "", *first);
        *first = false;
        return;
    }
    if (itself) {
        snprintf(match, sizeof(match), f->kind == NGINX ? "= %s" : "== \"%s\"", base);
        add_block(f, section, p, match, *first);
        *first = false;
    }
    if (below) {
        /* nginx: ^~ keeps regular expressions off; what nobody in particular answers may go to one */
        const char *mark = !*base || p->answer == PLACE_REST ? "" : "^~ ";

        if (f->kind == NGINX)
            snprintf(match, sizeof(match), "%s%s/", mark, base);
        else
            snprintf(match, sizeof(match), "=^ \"%s/\"", base);
        add_block(f, section, p, match, *first);
        *first = false;
    }
}

static void fill_places(struct filling *f)
{
    bool first = true;

    /* Apache's sections are applied one over the other, so there the longest comes last */
    for (size_t i = 0, n = f->places.n_regions; i < n; i++)
        add_blocks(f, "REGION", &f->places.regions[f->kind == APACHE ? n - 1 - i : i], &first);
    first = true;
    for (size_t i = 0; i < f->places.n_answers; i++)
        add_blocks(f, "PLACE", &f->places.answers[i], &first);
}

/* ---- lists that one server needs ---- */

static void fill_modules(struct filling *f)
{
    static const char *const modules[] = {"authn_core", "authz_core", "authz_user", "authnz_fcgi", "alias",
                                          "headers",    "lua",        "mime",       "proxy",       "proxy_fcgi",
                                          "reqtimeout", "rewrite",    "setenvif",   NULL};
    bool http = false;

    for (size_t i = 0; i < f->config->n_backends; i++)
        http = http || !f->config->backends[i].fastcgi;
    for (size_t i = 0; modules[i]; i++)
        template_set(template_section(f->dict, "MODULE"), "NAME", modules[i]);
    if (http)
        template_set(template_section(f->dict, "MODULE"), "NAME", "proxy_http");
    if (f->config->web.trusted_proxies[0])
        template_set(template_section(f->dict, "MODULE"), "NAME", "remoteip");
}

struct said {
    const char *name, *header;
};

static void fill_said(struct filling *f, const char *section, const struct said said[])
{
    for (size_t i = 0; said[i].name; i++) {
        struct template_dict *d = template_section(f->dict, section);

        template_set(d, "NAME", said[i].name);
        template_set(d, "HEADER", said[i].header);
    }
}

/* What the gate says of a call that passes, and of one that does not. */
static void fill_variables(struct filling *f)
{
    static const struct said said[] = {{"gate", "variable_tollgate_gate"},
                                       {"tenant", "variable_tollgate_tenant"},
                                       {"tier", "variable_tollgate_tier"},
                                       {"remaining", "variable_tollgate_remaining"},
                                       {"policy", "ratelimit_policy"},
                                       {"ratelimit", "ratelimit"},
                                       {0}},
                             told[] = {{"retry", "retry_after"},
                                       {"authenticate", "www_authenticate"},
                                       {"request", "x_request_id"},
                                       {"status", "x_tollgate_status"},
                                       {"type", "x_tollgate_type"},
                                       {"body", "x_tollgate_body"},
                                       {0}};

    fill_said(f, "SAID", said);
    fill_said(f, "TOLD", told);
}

/* ---- the whole ---- */

static enum status check_fit(struct filling *f, const char *conf_path)
{
    const char *share = f->config->paths.share_dir;

    if (share[0] != '/' || strpbrk(share, "\"\\$%{}|;\n\r"))
        return refuse(f,
                      "paths.share_dir: a web server's configuration can't carry \"%.200s\"; give a whole path of "
                      "plain characters",
                      share);
    if (strpbrk(conf_path, "\n\r"))
        return refuse(f, "the configuration's own name holds a line break");
    if ((f->kind == NGINX) != f->config->gate.nginx)
        return refuse(f, f->kind == NGINX
                             ? "gate.nginx: nginx needs a gate with nginx = true in [gate]"
                             : "gate.nginx: a gate that serves nginx serves no other; leave nginx = true out");
    return STATUS_OK;
}

static enum status fill(struct filling *f, const char *conf_path)
{
    const struct config *c = f->config;
    char number[32];
    enum status s = check_fit(f, conf_path);

    if (s == STATUS_OK)
        s = own_address(f, "GATE", "gate.listen", c->gate.listen, f->kind == APACHE);
    if (s == STATUS_OK)
        s = own_address(f, "WEB_ADDRESS", "web.listen", c->web.listen, false);
    if (s == STATUS_OK)
        s = own_address(f, "PAGES_ADDRESS", "web.pages_listen", c->web.pages_listen, false);
    if (s == STATUS_OK)
        s = fill_proxies(f);
    if (s != STATUS_OK)
        return s;
    template_set_everywhere(f->dict, "CONF", conf_path);
    template_set_everywhere(f->dict, "SHARE", c->paths.share_dir);
    snprintf(number, sizeof(number), "%" PRId64, c->gate.body_bytes);
    template_set_everywhere(f->dict, "BODY_BYTES", number);
    snprintf(number, sizeof(number), "%" PRId64, (c->gate.body_bytes + 1023) / 1024);
    template_set_everywhere(f->dict, "BODY_KIB", number);
    places_of(c, &f->places);
    fill_places(f);
    fill_modules(f);
    fill_variables(f);
    return STATUS_OK;
}

enum status server_conf_render(const struct server_conf *s, const struct config *c, const char *conf_path,
                               struct buffer *out, char problem[512])
{
    char path[4096];
    struct filling *f = calloc(1, sizeof(*f));
    enum status result = STATUS_NO_MEMORY;

    snprintf(problem, 512, "out of memory");
    if (!f)
        return result;
    f->config = c;
    f->problem = problem;
    f->kind = strcmp(s->server, "apache") == 0 ? APACHE : strcmp(s->server, "nginx") == 0 ? NGINX : LIGHTTPD;
    f->dict = template_create();
    if (f->dict)
        result = fill(f, conf_path);
    if (result == STATUS_OK) {
        snprintf(path, sizeof(path), "%s/%s", c->paths.share_dir, s->template);
        result = template_render_text(path, f->dict, out);
        if (out->length && out->data[out->length - 1] != '\n')
            buffer_text(out, "\n"); /* it is taken with the blank lines when it ends in a section */
        if (result != STATUS_OK)
            snprintf(problem, 512, "the template %.400s can't be read; see paths.share_dir", path);
    }
    template_destroy(f->dict);
    free(f);
    return result;
}
