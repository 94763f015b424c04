/*
 * server_conf: a web server's configuration, made of tollgate.conf and the templates in lighttpd-conf, apache-conf, nginx-conf.
 *
 * Every value that is filled in was checked before: paths and back ends when the configuration was read, addresses and folders
 * here. What a server's configuration can't carry is refused, and so is a configuration that does not fit the server (Apache
 * asks a gate over TCP only, nginx wants gate.nginx). Called by `tollgate config` and doctor.
 */
#ifndef CLI_SERVER_CONF_H
#define CLI_SERVER_CONF_H

#include "lib/base/buffer.h"
#include "lib/base/config.h"
#include "lib/base/status.h"

struct server_conf {
    const char *server, *part; /* "apache", "vhost"; a server of one part has "" */
    const char *template;      /* below paths.share_dir */
    const char *installed;     /* where Debian has it, as docs/hosting.md says */
    const char *enabled;       /* what is there when it is in force */
};

extern const struct server_conf server_confs[];
extern const size_t server_n_confs;

/* Appends the configuration to `out`. STATUS_INVALID: `problem` says what is wrong with tollgate.conf, and what would be right. */
MUST_CHECK enum status server_conf_render(const struct server_conf *s, const struct config *c, const char *conf_path,
                                          struct buffer *out, char problem[512]);

#endif
