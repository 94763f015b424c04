/* test_prefork.c: what stands in the way of a socket */
#include <CUnit/Basic.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/base/prefork.h"

static char dir[] = "/tmp/tg-prefork-XXXXXX";
static char path[64], address[80];

static int serve(int listener, void *arg)
{
    (void)arg;
    prefork_ready();
    while (prefork_accept(listener) >= 0)
        ;
    return 0;
}

static enum status run(void)
{
    const char *const listen[] = {address};
    char *argv[] = {"test", NULL};
    const struct prefork_pool pool = {.listen = listen, .n_listen = 1, .processes = 1};
    const struct prefork p = {.pools = &pool, .n_pools = 1, .argv = argv, .child = serve};

    return prefork_run(&p);
}

static int bound(int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    strcpy(a.sun_path, path);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void a_file_in_the_place_of_the_socket_stays(void)
{
    struct stat st;

    CU_ASSERT_EQUAL_FATAL(io_replace_file(path, "precious", 8, 0600), STATUS_OK);
    CU_ASSERT_EQUAL(run(), STATUS_IO);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 8);
    unlink(path);
    CU_ASSERT_EQUAL_FATAL(symlink("/dev/null", path), 0);
    CU_ASSERT_EQUAL(run(), STATUS_IO);
    CU_ASSERT_EQUAL(lstat(path, &st), 0);
    unlink(path);
}

static void a_socket_that_somebody_serves_stays(void)
{
    struct stat before, after;
    int types[] = {SOCK_STREAM, SOCK_DGRAM};

    for (size_t i = 0; i < 2; i++) {
        int fd = bound(types[i]);

        if (types[i] == SOCK_STREAM)
            CU_ASSERT_EQUAL_FATAL(listen(fd, 1), 0);
        CU_ASSERT_EQUAL(stat(path, &before), 0);
        CU_ASSERT_EQUAL(run(), STATUS_IO);
        CU_ASSERT_EQUAL(stat(path, &after), 0);
        CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
        close(fd);
        unlink(path);
    }
}

/* As a process that was killed leaves it. */
static void a_socket_that_nobody_serves_makes_way(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int status = -1, fd = bound(SOCK_STREAM);
    pid_t pid;

    close(fd);
    pid = fork();
    if (pid == 0)
        _exit(run() == STATUS_OK ? 0 : 1);
    strcpy(a.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 500 && connect(fd, (const struct sockaddr *)&a, sizeof a) != 0; i++)
        usleep(10000);
    CU_ASSERT_NOT_EQUAL(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    CU_ASSERT_EQUAL(errno, EISCONN);
    close(fd);
    kill(pid, SIGTERM);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    unlink(path);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    alarm(30); /* an address that is bound although it must not be is served without an end */
    log_init("test", LOG_LEVEL_ERROR);
    if (mkdtemp(dir) == NULL || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    snprintf(path, sizeof path, "%s/socket", dir);
    snprintf(address, sizeof address, "unix:%s", path);
    suite = CU_add_suite("prefork", NULL, NULL);
    CU_ADD_TEST(suite, a_file_in_the_place_of_the_socket_stays);
    CU_ADD_TEST(suite, a_socket_that_somebody_serves_stays);
    CU_ADD_TEST(suite, a_socket_that_nobody_serves_makes_way);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    rmdir(dir);
    return failed == 0 ? 0 : 1;
}
