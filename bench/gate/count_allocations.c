/* count_allocations.c: preloaded; counts malloc, calloc and realloc into the file $COUNT_TO.<pid>, written as a mapped text */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIGITS 20

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static char *shown; /* a decimal number, kept up to date by hand: no call into libc from within malloc */
static pid_t owner;

static void count(void)
{
    if (!shown || owner != getpid())
        return;
    for (int i = DIGITS - 1; i >= 0; i--) {
        if (shown[i] < '9') {
            shown[i]++;
            return;
        }
        shown[i] = '0';
    }
}

static void start(void)
{
    char path[512];
    const char *to = getenv("COUNT_TO");
    if (!to)
        return;
    snprintf(path, sizeof path, "%s.%d", to, getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, DIGITS) != 0)
        return;
    char *page = mmap(NULL, DIGITS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return;
    memset(page, '0', DIGITS);
    owner = getpid();
    shown = page;
}

__attribute__((constructor)) static void load(void)
{
    pthread_atfork(NULL, NULL, start);
    start();
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count();
    return __libc_realloc(p, size);
}
