/* test_seats.c: seats that processes share, and that a process leaves by ending */
#include <CUnit/Basic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/seats.h"

static char dir[] = "/tmp/tg-seats-XXXXXX";

/* A process that takes a seat, or not, says which and waits to be killed. */
static pid_t another(int n, enum status *got)
{
    int ends[2];
    pid_t pid;

    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        struct seats s = SEATS_NONE;
        enum status st = seats_take(&s, dir, "seats", n, 0);

        if (write(ends[1], &st, sizeof st) != (ssize_t)sizeof st)
            _exit(1);
        for (;;)
            pause();
    }
    CU_ASSERT_EQUAL_FATAL(read(ends[0], got, sizeof *got), (ssize_t)sizeof *got);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void there_are_as_many_as_asked_for(void)
{
    struct seats mine = SEATS_NONE;
    enum status got[3];
    pid_t pids[3];

    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 3, 0), STATUS_OK);
    for (int i = 0; i < 3; i++)
        pids[i] = another(3, &got[i]);
    CU_ASSERT_EQUAL(got[0], STATUS_OK);
    CU_ASSERT_EQUAL(got[1], STATUS_OK);
    CU_ASSERT_EQUAL(got[2], STATUS_CONFLICT);
    for (int i = 0; i < 3; i++)
        end(pids[i]);
    seats_term(&mine);
}

static void a_seat_is_left_by_leaving_and_by_being_killed(void)
{
    struct seats mine = SEATS_NONE;
    enum status got;
    pid_t pid = another(1, &got);

    CU_ASSERT_EQUAL(got, STATUS_OK);
    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 1, 0), STATUS_CONFLICT);
    end(pid);
    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 1, 0), STATUS_OK);
    seats_leave(&mine);
    seats_leave(&mine);
    pid = another(1, &got);
    CU_ASSERT_EQUAL(got, STATUS_OK);
    end(pid);
    seats_term(&mine);
}

static void patience_has_an_end_and_is_rewarded(void)
{
    struct seats mine = SEATS_NONE;
    enum status got;
    pid_t pid = another(1, &got), killer;
    int64_t began = clock_mono_us();

    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 1, 100000), STATUS_CONFLICT);
    CU_ASSERT_TRUE(clock_mono_us() - began >= 100000);
    killer = fork();
    if (killer == 0) {
        usleep(50000);
        kill(pid, SIGKILL);
        _exit(0);
    }
    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 1, 10000000), STATUS_OK);
    waitpid(killer, NULL, 0);
    waitpid(pid, NULL, 0);
    seats_term(&mine);
}

static void none_are_none_and_no_folder_is_an_error(void)
{
    struct seats mine = SEATS_NONE;

    CU_ASSERT_EQUAL(seats_take(&mine, dir, "seats", 0, 0), STATUS_CONFLICT);
    seats_term(&mine);
    CU_ASSERT_EQUAL(seats_take(&mine, "/nowhere/at/all", "seats", 1, 0), STATUS_IO);
    seats_term(&mine);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;
    char path[64];

    if (mkdtemp(dir) == NULL || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("seats", NULL, NULL);
    CU_ADD_TEST(suite, there_are_as_many_as_asked_for);
    CU_ADD_TEST(suite, a_seat_is_left_by_leaving_and_by_being_killed);
    CU_ADD_TEST(suite, patience_has_an_end_and_is_rewarded);
    CU_ADD_TEST(suite, none_are_none_and_no_folder_is_an_error);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    snprintf(path, sizeof path, "%s/seats", dir);
    unlink(path);
    rmdir(dir);
    return failed == 0 ? 0 : 1;
}
