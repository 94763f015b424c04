/* prefork.c: binding, forking, restarting, stopping, handing over */
#include "lib/base/prefork.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define FIRST_FD 3  /* of LISTEN_FDS */
#define SLOW_MS 500 /* between restarts of children that end within a second */

struct child {
    pid_t pid;
    size_t address;
    int64_t started_us;
};

struct parent {
    const struct prefork *p;
    int listeners[LISTEN_MAX];
    size_t n_listeners;
    struct child children[CHILDREN_MAX];
    size_t n_children;
    int signals;
};

static volatile sig_atomic_t stopping;

static void on_stop(int signal)
{
    (void)signal;
    stopping = 1;
}

bool prefork_stopping(void)
{
    return stopping != 0;
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

static int bind_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) { /* somebody serves there */
        close(fd);
        errno = EADDRINUSE;
        return -1;
    }
    unlink(path);
    mode_t before = umask(0117); /* the web server's group may connect */
    bool ok = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, BACKLOG) == 0;
    umask(before);
    if (ok)
        return fd;
    close(fd);
    return -1;
}

static int bind_tcp(const char *address)
{
    char host[128];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) {
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
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
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

static enum status open_listeners(struct parent *d)
{
    size_t given = handed_over();
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    for (size_t i = 0; i < d->p->n_listen && d->p->listen[i]; i++) {
        const char *address = d->p->listen[i];
        int fd;
        if (i == LISTEN_MAX)
            return STATUS_INVALID;
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
        d->listeners[d->n_listeners++] = fd;
    }
    return d->n_listeners ? STATUS_OK : STATUS_INVALID;
}

/* ---- children ---- */

static void child_main(struct parent *d, size_t address, pid_t parent)
{
    struct sigaction stop = {.sa_handler = on_stop}; /* no SA_RESTART: accept(2) has to come back */
    sigset_t none;
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
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
    exit(d->p->child(d->listeners[address], d->p->arg));
}

static void start_child(struct parent *d, struct child *c)
{
    pid_t parent = getpid();
    c->started_us = clock_mono_us();
    c->pid = fork();
    if (c->pid == 0)
        child_main(d, c->address, parent);
    if (c->pid < 0)
        log_error("can't fork: %s", strerror(errno));
}

static void reap(struct parent *d, bool restart)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
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

/* SIGTERM again and again: one that came just before accept(2) would be lost. */
static void stop_children(struct parent *d)
{
    for (int waited = 0; living(d) > 0 && waited < PREFORK_GRACE_MS; waited += 20) {
        if (waited % 100 == 0)
            signal_children(d, SIGTERM);
        usleep(20 * 1000);
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

/* Starts a new parent from the program's file as it is now, with the listeners as its descriptors 3, 4, … */
static bool hand_over(struct parent *d)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid > 0;
    char n[16], me[16];
    int moved[LISTEN_MAX];
    for (size_t i = 0; i < d->n_listeners; i++) /* first out of the way, then into their places */
        moved[i] = fcntl(d->listeners[i], F_DUPFD, FIRST_FD + LISTEN_MAX);
    for (size_t i = 0; i < d->n_listeners; i++)
        dup2(moved[i], FIRST_FD + (int)i);
    for (size_t i = 0; i < d->n_listeners; i++)
        close(moved[i]);
    snprintf(n, sizeof n, "%zu", d->n_listeners);
    snprintf(me, sizeof me, "%d", (int)getpid());
    setenv("LISTEN_FDS", n, 1);
    setenv("LISTEN_PID", me, 1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(d->p->argv[0], d->p->argv);
    log_error("can't start %s anew: %s", d->p->argv[0], strerror(errno));
    _exit(127);
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

/* Waits for a signal or half a second; the signal, or 0. */
static int next_signal(struct parent *d)
{
    struct pollfd wait = {.fd = d->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    poll(&wait, 1, SLOW_MS);
    return read(d->signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

static void supervise(struct parent *d)
{
    for (;;) {
        start_missing(d);
        switch (next_signal(d)) {
        case SIGTERM:
        case SIGINT:
            return;
        case SIGHUP:
            if (hand_over(d))
                return;
            break;
        default:
            reap(d, true);
        }
    }
}

enum status prefork_run(const struct prefork *p)
{
    struct parent *d = calloc(1, sizeof *d);
    if (!d)
        return STATUS_NO_MEMORY;
    d->p = p;
    d->signals = -1;
    enum status s = open_listeners(d);
    if (s == STATUS_OK)
        s = prefork_become(p->user);
    if (s == STATUS_OK)
        s = watch_signals(d);
    if (s != STATUS_OK)
        goto done;
    for (size_t i = 0; i < d->n_listeners; i++)
        for (int j = 0; j < p->processes && d->n_children < CHILDREN_MAX; j++)
            d->children[d->n_children++].address = i;
    supervise(d);
    stop_children(d);
done:
    for (size_t i = 0; i < d->n_listeners; i++)
        close(d->listeners[i]);
    if (d->signals >= 0)
        close(d->signals);
    free(d);
    return s;
}
