/*
 * failcall.c: makes one system call or libpq step of a program fail; loaded with LD_PRELOAD by failcall.mjs.
 *
 * $FAILCALL names a file, mapped by every process that has it in its environment, by which the test orders a failure while
 * the programs run: the n-th call of one kind, in one program, on files in $FAILCALL_DIR/spool and run, fails with an errno (a write may
 * end short). Native endian: 0 armed, 4 program, 8 call, 12 calls to let pass, 16 errno (0: short write), 20 failures so far.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libpq-fe.h>

enum call {
    CALL_OPEN,
    CALL_WRITE,
    CALL_PWRITE,
    CALL_FDATASYNC,
    CALL_FSYNC,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_LINK,
    CALL_MMAP,
    CALL_FTRUNCATE,
    CALL_FALLOCATE,
    CALL_CONNECT,
    CALL_BEGIN,
    CALL_QUERY,
    CALL_COPY,
    CALL_COPY_END,
    CALL_COMMIT_BEFORE,
    CALL_COMMIT_DURING,
    CALL_COMMIT_AFTER,
};

struct order {
    int32_t armed, program, call, pass, error, failures;
};

static volatile struct order *order;
static int32_t this_program; /* 1 gate, 2 web, 3 collector */
static const char *below;

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void load(void)
{
    static const char *const names[] = {"tollgate-gate", "tollgate-web", "tollgate-collec"};
    const char *path = getenv("FAILCALL");
    char name[32] = "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
    if (fd >= 0)
        close(fd);
    name[n > 0 ? n - 1 : 0] = '\0';
    for (int i = 0; i < 3; i++)
        if (strncmp(name, names[i], 15) == 0)
            this_program = i + 1;
    below = getenv("FAILCALL_DIR");
    if (!this_program || !path || !below || (fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0)) < 0)
        return;
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    order = at == MAP_FAILED ? NULL : at;
}

/* Is this the call that is to fail? The first that comes takes the order. */
static int is_due(enum call call)
{
    if (!order || !order->armed || order->program != this_program || order->call != (int32_t)call)
        return 0;
    if (__atomic_fetch_sub(&order->pass, 1, __ATOMIC_SEQ_CST) > 0)
        return 0;
    if (__atomic_exchange_n(&order->armed, 0, __ATOMIC_SEQ_CST) == 0)
        return 0; /* another process was the first */
    __atomic_fetch_add(&order->failures, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static int path_due(enum call call, const char *path)
{
    size_t n = below ? strlen(below) : 0;
    if (!order || !path || strncmp(path, below, n) != 0)
        return 0;
    return (strncmp(path + n, "/spool", 6) == 0 || strncmp(path + n, "/run", 4) == 0) && is_due(call);
}

static int fd_due(enum call call, int fd)
{
    char link[48], path[512];
    if (!order || !order->armed || order->call != (int32_t)call)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return path_due(call, path);
}

static int fail(void)
{
    errno = order->error ? order->error : EIO;
    return -1;
}

/* ---- system calls ---- */

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return path_due(CALL_OPEN, path) ? fail() : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return path_due(CALL_OPEN, path) ? fail() : (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    if (!fd_due(CALL_WRITE, fd))
        return syscall(SYS_write, fd, bytes, n);
    return order->error ? fail() : syscall(SYS_write, fd, bytes, n / 2);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    if (!fd_due(CALL_PWRITE, fd))
        return syscall(SYS_pwrite64, fd, bytes, n, at);
    return order->error ? fail() : syscall(SYS_pwrite64, fd, bytes, n / 2, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) __attribute__((alias("pwrite")));

int fdatasync(int fd)
{
    return fd_due(CALL_FDATASYNC, fd) ? fail() : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fd_due(CALL_FSYNC, fd) ? fail() : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    return path_due(CALL_RENAME, to) ? fail() : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    return path_due(CALL_UNLINK, path) ? fail() : REAL(unlink)(path);
}

int link(const char *from, const char *to)
{
    return path_due(CALL_LINK, to) ? fail() : REAL(link)(from, to);
}

void *mmap(void *where, size_t n, int protection, int flags, int fd, off_t at)
{
    if (fd >= 0 && fd_due(CALL_MMAP, fd)) {
        fail();
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, where, n, protection, flags, fd, at);
}
void *mmap64(void *where, size_t n, int protection, int flags, int fd, off_t at) __attribute__((alias("mmap")));

int ftruncate(int fd, off_t n)
{
    return fd_due(CALL_FTRUNCATE, fd) ? fail() : (int)syscall(SYS_ftruncate, fd, n);
}
int ftruncate64(int fd, off_t n) __attribute__((alias("ftruncate")));

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return fd_due(CALL_FALLOCATE, fd) ? fail() : (int)syscall(SYS_fallocate, fd, mode, at, n);
}
int fallocate64(int fd, int mode, off_t at, off_t n) __attribute__((alias("fallocate")));

/* ---- libpq: the connection breaks before the server hears of the step, or behind it ---- */

static void cut(PGconn *c)
{
    if (c && PQsocket(c) >= 0)
        shutdown(PQsocket(c), SHUT_RDWR);
}

PGconn *PQconnectdbParams(const char *const *keywords, const char *const *values, int expand)
{
    PGconn *c = REAL(PQconnectdbParams)(keywords, values, expand);
    if (is_due(CALL_CONNECT))
        cut(c);
    return c;
}

int PQsendQueryParams(PGconn *c, const char *sql, int n, const Oid *types, const char *const *values,
                      const int *lengths, const int *formats, int format)
{
    if (strcmp(sql, "BEGIN") == 0 && is_due(CALL_BEGIN))
        cut(c);
    return REAL(PQsendQueryParams)(c, sql, n, types, values, lengths, formats, format);
}

PGresult *PQexecParams(PGconn *c, const char *sql, int n, const Oid *types, const char *const *values,
                       const int *lengths, const int *formats, int format)
{
    if (is_due(CALL_QUERY))
        cut(c);
    return REAL(PQexecParams)(c, sql, n, types, values, lengths, formats, format);
}

int PQputCopyData(PGconn *c, const char *bytes, int n)
{
    if (is_due(CALL_COPY))
        cut(c);
    return REAL(PQputCopyData)(c, bytes, n);
}

int PQputCopyEnd(PGconn *c, const char *error)
{
    if (is_due(CALL_COPY_END))
        cut(c);
    return REAL(PQputCopyEnd)(c, error);
}

/* COMMIT reaches the server, its answer never comes back; with `wait` the server has done it by then. */
static PGresult *commit_unheard(PGconn *c, int wait)
{
    char answer[512];
    struct pollfd p = {.fd = PQsocket(c), .events = POLLIN};
    PGresult *last = NULL;
    if (PQsendQuery(c, "COMMIT")) {
        PQflush(c);
        if (wait && poll(&p, 1, 10000) == 1 && recv(p.fd, answer, sizeof answer, MSG_DONTWAIT) < 0)
            errno = 0; /* it is gone all the same */
        cut(c);
    }
    for (PGresult *r; (r = PQgetResult(c));) {
        PQclear(last);
        last = r;
    }
    return last ? last : PQmakeEmptyPGresult(c, PGRES_FATAL_ERROR);
}

PGresult *PQexec(PGconn *c, const char *sql)
{
    if (strcmp(sql, "COMMIT") == 0) {
        if (is_due(CALL_COMMIT_BEFORE))
            cut(c);
        else if (is_due(CALL_COMMIT_DURING))
            return commit_unheard(c, 0);
        else if (is_due(CALL_COMMIT_AFTER))
            return commit_unheard(c, 1);
    }
    return REAL(PQexec)(c, sql);
}
