/* prefork.c: binding, forking, restarting, stopping, handing over */
#include "lib/base/prefork.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define LISTEN_MAX 8
#define CHILDREN_MAX 256
#define BACKLOG 1024
#define FIRST_FD 3 /* of LISTEN_FDS */
#define READY_VARIABLE "TOLLGATE_READY_FD"
#define SLOW_MS 500 /* between restarts of children that end within a second */

struct child {
    pid_t pid;
    size_t address;
    int64_t started_us;
};

struct address {
    const char *text;
    size_t pool;
};

struct parent {
    const struct prefork *p;
    struct address addresses[LISTEN_MAX]; /* of all pools, one behind the other */
    size_t n_addresses;
    int listeners[LISTEN_MAX]; /* those that are open, in the same order */
    size_t n_listeners;
    struct child children[CHILDREN_MAX];
    size_t n_children;
    _Atomic int64_t *deadlines; /* of each child, shared with it; 0: none */
    int signals;
    pid_t successor;      /* started by SIGHUP and not ready yet, or 0 */
    int successor_fd;     /* a byte comes when it is ready, the end when it never will be */
    bool successor_ended; /* and its number may be another's */
    int64_t successor_until_us;
};

static volatile sig_atomic_t stopping;
static int accepting = -1, nothing = -1; /* a child's listener, and /dev/null to put in its place */
static int ready_fd = -1;                /* to the parent that handed its sockets over to this one */

static void on_stop(int signal)
{
    (void)signal;
    int kept = errno;
    stopping = 1;
    dup2(nothing, accepting); /* an accept(2) that is restarted, or about to start, fails */
    errno = kept;
}

int prefork_accept(int listener)
{
    for (;;) {
        int fd = stopping ? -1 : accept(listener, NULL, NULL);
        if (fd >= 0 || stopping)
            return fd;
        /* what accept(2) lists as the connection's own trouble */
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO && errno != ENETDOWN && errno != EHOSTUNREACH &&
            errno != ENETUNREACH) {
            log_error("can't accept a connection: %s", strerror(errno));
            return -1;
        }
    }
}

bool prefork_stopping(void)
{
    return stopping != 0;
}

enum prefork_wait prefork_wait(int connection, int listener)
{
    struct pollfd wait = {.fd = connection, .events = POLLIN}, other = {.fd = listener, .events = POLLIN};
    while (!stopping) {
        int n = poll(&wait, 1, PREFORK_IDLE_MS);
        if (n > 0 || (n < 0 && errno != EINTR))
            return stopping ? PREFORK_STOPPING : PREFORK_READABLE;
        if (n == 0 && poll(&other, 1, 0) > 0 && poll(&wait, 1, 0) == 0)
            return stopping ? PREFORK_STOPPING : PREFORK_WANTED;
    }
    return PREFORK_STOPPING;
}

/* What has a deadline in this child; the time stands where the parent sees it. */
static _Atomic int64_t *watched_until;
static volatile sig_atomic_t watched = -1;

void prefork_deadline(int connection, int64_t until_us)
{
    if (!watched_until)
        return;
    atomic_store(watched_until, 0);
    watched = connection;
    atomic_store(watched_until, until_us);
}

/* The parent's word that the time is over; a late one, for what has ended meanwhile, does nothing. */
static void on_late(int signal)
{
    (void)signal;
    int kept = errno;
    int64_t until = atomic_load(watched_until);
    if (until && clock_mono_us() >= until && watched >= 0)
        shutdown(watched, SHUT_RDWR);
    errno = kept;
}

void prefork_ready(void)
{
    if (ready_fd < 0)
        return;
    if (write(ready_fd, "", 1) < 0 && errno != EPIPE) /* EPIPE: another child was first */
        log_warning("can't tell the old process to end: %s", strerror(errno));
    close(ready_fd);
    ready_fd = -1;
}

enum status prefork_become(const char *user)
{
    if (!user || !*user || geteuid() != 0)
        return STATUS_OK;
    const struct passwd *p = getpwnam(user);
    if (!p)
        return STATUS_NOT_FOUND;
    if (initgroups(user, p->pw_gid) != 0 || setgid(p->pw_gid) != 0 || setuid(p->pw_uid) != 0)
        return STATUS_DENIED;
    return setuid(0) == 0 && p->pw_uid != 0 ? STATUS_DENIED : STATUS_OK;
}

/* ---- addresses ---- */

/* A socket that nobody listens on any more makes way; whatever else is there stays. */
static bool make_way(int fd, const struct sockaddr_un *a)
{
    struct stat found;
    if (lstat(a->sun_path, &found) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(found.st_mode)) {
        errno = EEXIST;
        return false;
    }
    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0) {
        errno = EADDRINUSE;
        return false;
    }
    return errno == ECONNREFUSED && unlink(a->sun_path) == 0;
}

static int bind_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    mode_t before = umask(0117); /* the web server's group may connect */
    bool ok = make_way(fd, &a) && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, BACKLOG) == 0;
    int kept = errno;
    umask(before);
    if (ok)
        return fd;
    close(fd);
    errno = kept;
    return -1;
}

static int bind_tcp(const char *address)
{
    char host[128];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof(host)) {
        errno = EINVAL;
        return -1;
    }
    size_t n = (size_t)(colon - address);
    bool v6 = n > 2 && address[0] == '[' && address[n - 1] == ']';
    memcpy(host, address + v6, n - 2 * v6);
    host[n - 2 * v6] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE},
                    *found;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
                    bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)) {
        int kept = errno;
        close(fd);
        errno = kept;
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* How many sockets were handed to this very process. */
static size_t handed_over(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    if (!pid || !n || strtol(pid, NULL, 10) != getpid())
        return 0;
    long count = strtol(n, NULL, 10);
    return count > 0 && count <= LISTEN_MAX ? (size_t)count : 0;
}

static enum status list_addresses(struct parent *d)
{
    for (size_t i = 0; i < d->p->n_pools; i++) {
        const struct prefork_pool *pool = &d->p->pools[i];
        for (size_t j = 0; j < pool->n_listen && pool->listen[j]; j++) {
            if (d->n_addresses == LISTEN_MAX)
                return STATUS_INVALID;
            d->addresses[d->n_addresses++] = (struct address){pool->listen[j], i};
        }
    }
    return d->n_addresses ? STATUS_OK : STATUS_INVALID;
}

static enum status open_listeners(struct parent *d)
{
    size_t given = handed_over();
    const char *ready = getenv(READY_VARIABLE);
    if (given > 0 && ready) {
        ready_fd = (int)strtol(ready, NULL, 10);
        if (fcntl(ready_fd, F_SETFD, FD_CLOEXEC) != 0)
            ready_fd = -1;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv(READY_VARIABLE);
    for (size_t i = 0; i < d->n_addresses; i++) {
        const char *address = d->addresses[i].text;
        int fd;
        if (i < given) {
            fd = FIRST_FD + (int)i;
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        } else {
            fd = strncmp(address, "unix:", 5) == 0 ? bind_unix(address + 5) : bind_tcp(address);
        }
        if (fd < 0) {
            log_error("can't listen on %s: %s", address, strerror(errno));
            return errno == EINVAL ? STATUS_INVALID : STATUS_IO;
        }
        int one = 1; /* connections inherit it; a Unix socket has no such option and needs none */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        d->listeners[d->n_listeners++] = fd;
    }
    return STATUS_OK;
}

/* ---- children ---- */

static void child_main(struct parent *d, size_t address, pid_t parent)
{
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct sigaction late = {.sa_handler = on_late, .sa_flags = SA_RESTART};
    sigset_t none;
    accepting = d->listeners[address];
    nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGUSR1, &late, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a killed parent leaves no children behind */
    if (getppid() != parent)
        _exit(0);
    for (size_t i = 0; i < d->n_listeners; i++)
        if (i != address)
            close(d->listeners[i]);
    close(d->signals);
    if (d->successor_fd >= 0)
        close(d->successor_fd);
    exit(d->p->child(d->listeners[address], d->p->arg));
}

static void start_child(struct parent *d, struct child *c)
{
    pid_t parent = getpid();
    c->started_us = clock_mono_us();
    watched_until = &d->deadlines[c - d->children];
    atomic_store(watched_until, 0);
    c->pid = fork();
    if (c->pid == 0)
        child_main(d, c->address, parent);
    if (c->pid < 0)
        log_error("can't fork: %s", strerror(errno));
}

static void reap(struct parent *d, bool restart)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == d->successor)
            d->successor_ended = true;
        for (size_t i = 0; i < d->n_children; i++) {
            struct child *c = &d->children[i];
            if (c->pid != pid)
                continue;
            c->pid = 0;
            if (!restart)
                break;
            if (WIFSIGNALED(status))
                log_error("child %d was ended by signal %d; starting another", (int)pid, WTERMSIG(status));
            else if (status != 0)
                log_error("child %d ended with status %d; starting another", (int)pid, WEXITSTATUS(status));
            break;
        }
    }
}

static void start_missing(struct parent *d)
{
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < d->n_children; i++) {
        struct child *c = &d->children[i];
        bool soon = c->started_us && now - c->started_us < SLOW_MS * 1000;
        if (c->pid <= 0 && !soon)
            start_child(d, c);
    }
}

/* Children whose connection is over time; again at the next look, should one have missed it. */
static void tell_late(const struct parent *d)
{
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < d->n_children; i++) {
        int64_t until = atomic_load(&d->deadlines[i]);
        if (until && now >= until && d->children[i].pid > 0)
            kill(d->children[i].pid, SIGUSR1);
    }
}

static size_t living(const struct parent *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_children; i++)
        n += d->children[i].pid > 0;
    return n;
}

static void signal_children(const struct parent *d, int signal)
{
    for (size_t i = 0; i < d->n_children; i++)
        if (d->children[i].pid > 0)
            kill(d->children[i].pid, signal);
}

/* SIGTERM again and again: one that came just before poll(2) would be lost. */
static void stop_children(struct parent *d)
{
    for (int waited = 0; living(d) > 0 && waited < PREFORK_GRACE_MS; waited += 20) {
        if (waited % 100 == 0)
            signal_children(d, SIGTERM);
        usleep(20 * 1000);
        tell_late(d);
        reap(d, false);
    }
    if (living(d) > 0)
        log_warning("%zu children did not finish in time and are killed", living(d));
    signal_children(d, SIGKILL);
    while (living(d) > 0) {
        reap(d, false);
        usleep(1000);
    }
}

/* ---- handing over ---- */

/* In the fork: the program's file as it is now, with the listeners as descriptors 3, 4, … and `ready` behind them. */
static void become_successor(struct parent *d, int ready)
{
    char text[24];
    int moved[LISTEN_MAX + 1];
    size_t n = d->n_listeners;
    for (size_t i = 0; i <= n; i++) /* first out of the way, then into their places */
        moved[i] = fcntl(i < n ? d->listeners[i] : ready, F_DUPFD_CLOEXEC, FIRST_FD + LISTEN_MAX + 1);
    for (size_t i = 0; i <= n; i++)
        dup2(moved[i], FIRST_FD + (int)i);
    snprintf(text, sizeof(text), "%zu", n);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof(text), "%d", FIRST_FD + (int)n);
    setenv(READY_VARIABLE, text, 1);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(d->p->argv[0], d->p->argv);
    log_error("can't start %s anew: %s", d->p->argv[0], strerror(errno));
    _exit(127);
}

static void start_successor(struct parent *d)
{
    int ends[2];
    if (d->successor) {
        log_warning("a new process is being started already");
        return;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        log_error("can't start a new process: %s", strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_successor(d, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        log_error("can't start a new process: %s", strerror(errno));
        close(ends[0]);
        return;
    }
    d->successor = pid;
    d->successor_fd = ends[0];
    d->successor_until_us = clock_mono_us() + PREFORK_READY_MS * INT64_C(1000);
}

static void forget_successor(struct parent *d)
{
    close(d->successor_fd);
    d->successor = 0;
    d->successor_fd = -1;
    d->successor_ended = false;
}

static void give_successor_up(struct parent *d, const char *why)
{
    log_error("the new process %s; this one goes on", why);
    if (!d->successor_ended)
        kill(d->successor, SIGTERM);
    forget_successor(d);
}

/* Whether the new parent serves. */
static bool successor_serves(struct parent *d)
{
    struct pollfd wait = {.fd = d->successor_fd, .events = POLLIN};
    char byte;
    if (!d->successor)
        return false;
    if (d->successor_ended || poll(&wait, 1, 0) > 0) {
        if (!d->successor_ended && read(d->successor_fd, &byte, 1) == 1) {
            forget_successor(d);
            return true;
        }
        give_successor_up(d, "ended before it could serve");
    } else if (clock_mono_us() > d->successor_until_us) {
        give_successor_up(d, "could not serve in time");
    }
    return false;
}

/* ---- the parent ---- */

static enum status watch_signals(struct parent *d)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return d->signals >= 0 ? STATUS_OK : STATUS_IO;
}

/* Waits for a signal, the successor or half a second; the signal, or 0. */
static int next_signal(struct parent *d)
{
    struct pollfd wait[] = {{.fd = d->signals, .events = POLLIN}, {.fd = d->successor_fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    poll(wait, 2, SLOW_MS);
    return read(d->signals, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

static void supervise(struct parent *d)
{
    for (;;) {
        start_missing(d);
        tell_late(d);
        if (ready_fd >= 0) { /* the first children have it: when they all end, the pipe does */
            close(ready_fd);
            ready_fd = -1;
        }
        switch (next_signal(d)) {
        case SIGTERM:
        case SIGINT:
            if (d->successor)
                give_successor_up(d, "is not wanted any more");
            return;
        case SIGHUP:
            start_successor(d);
            break;
        default:
            if (successor_serves(d))
                return;
            reap(d, true);
        }
    }
}

enum status prefork_run(const struct prefork *p)
{
    struct parent *d = calloc(1, sizeof(*d));
    if (!d)
        return STATUS_NO_MEMORY;
    d->p = p;
    d->signals = -1;
    d->successor_fd = -1;
    void *shared = mmap(NULL, CHILDREN_MAX * sizeof(*d->deadlines), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0);
    if (shared == MAP_FAILED) {
        free(d);
        return STATUS_NO_MEMORY;
    }
    d->deadlines = shared;
    enum status s = list_addresses(d);
    if (s == STATUS_OK)
        s = open_listeners(d);
    if (s == STATUS_OK)
        s = prefork_become(p->user);
    if (s == STATUS_OK)
        s = watch_signals(d);
    if (s != STATUS_OK)
        goto done;
    for (size_t i = 0; i < d->n_listeners; i++)
        for (int j = 0; j < p->pools[d->addresses[i].pool].processes && d->n_children < CHILDREN_MAX; j++)
            d->children[d->n_children++].address = i;
    supervise(d);
    stop_children(d);
done:
    for (size_t i = 0; i < d->n_listeners; i++)
        close(d->listeners[i]);
    if (d->signals >= 0)
        close(d->signals);
    munmap(shared, CHILDREN_MAX * sizeof(*d->deadlines));
    free(d);
    return s;
}
