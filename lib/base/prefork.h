/*
 * prefork: a parent that binds addresses and keeps so many children serving each; for tollgate-gate and tollgate-web.
 *
 * The parent serves nothing. It restarts a child that ends, slower when children end at once. SIGTERM or SIGINT: children
 * finish the request in hand and end, the rest is killed after PREFORK_GRACE_MS; a signal breaks off no read(2) or write(2) of
 * theirs. SIGHUP: a new parent is started from the same file with the sockets handed over (LISTEN_FDS, LISTEN_PID as systemd
 * does); once a child of it has called prefork_ready(), this one ends like on SIGTERM: no connection is refused. A new one that
 * ends before, or is not ready within PREFORK_READY_MS, is given up, the log says so, and this one goes on. Sockets given by
 * systemd are taken in the order of the addresses.
 */
#ifndef BASE_PREFORK_H
#define BASE_PREFORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define PREFORK_GRACE_MS 4500
#define PREFORK_READY_MS 10000
#define PREFORK_IDLE_MS 5000

/* Addresses that are served alike, by processes of their own: a pool that is busy holds no other up. */
struct prefork_pool {
    const char *const
        *listen; /* "unix:/path" or "127.0.0.1:port" (IPv4 or [IPv6]); NULL ends the list before n_listen */
    size_t n_listen;
    int processes; /* children for each address */
};

struct prefork {
    const struct prefork_pool *pools; /* together at most eight addresses */
    size_t n_pools;
    const char *user;                      /* whom to become when started as root, after binding; "" or NULL: stay */
    char *const *argv;                     /* of main, for SIGHUP */
    int (*child)(int listener, void *arg); /* serves until prefork_accept() says -1; its result is the exit status */
    void *arg;
};

/* Runs until told to stop. STATUS_INVALID: an address can't be read; STATUS_IO: not bound; the log says which and why. */
MUST_CHECK enum status prefork_run(const struct prefork *p);
/* In a child: everything is open and it is about to accept; whoever handed the sockets over may end. */
void prefork_ready(void);
/* In a child: the next connection; -1 when it is time to end: SIGTERM has come, or accept(2) fails for good (the log says). */
int prefork_accept(int listener);
/* In a child: has SIGTERM come? From then on the listener is /dev/null, so that nothing waits in vain. */
bool prefork_stopping(void);
enum prefork_wait {
    PREFORK_READABLE, /* bytes, or its end */
    PREFORK_STOPPING, /* SIGTERM has come */
    PREFORK_WANTED,   /* nothing for PREFORK_IDLE_MS, and another connection waits at the listener */
};
/* In a child: waits for an open connection. */
enum prefork_wait prefork_wait(int connection, int listener);
/*
 * In a child: shuts `connection` down at `until_us` (monotonic), so that whatever reads or writes there then fails; 0: never
 * mind. The parent looks twice a second, so no system call is made for it.
 */
void prefork_deadline(int connection, int64_t until_us);
/* Becomes `user` for good when running as root (groups too). STATUS_NOT_FOUND, STATUS_DENIED. */
MUST_CHECK enum status prefork_become(const char *user);

#endif
