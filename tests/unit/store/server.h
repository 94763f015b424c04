/*
 * server: a PostgreSQL of a test's own (tests/pg.sh), and the suite that runs against it. For the tests of this folder.
 *
 * Included once, by the test; server_stop removes what server_start made.
 */
#ifndef UNIT_STORE_SERVER_H
#define UNIT_STORE_SERVER_H

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char server_dir[64]; /* its socket's folder; "": none was started */

/* An empty cluster; false when it can't be had. */
static inline bool server_start(const char *name)
{
    char command[128];

    snprintf(server_dir, sizeof(server_dir), "/tmp/tollgate-test-%s-%d", name, (int)getpid());
    snprintf(command, sizeof(command), "tests/pg.sh start %s >/dev/null", server_dir);
    return system(command) == 0;
}

static inline int server_stop(void)
{
    char command[128];

    if (!server_dir[0])
        return 0;
    snprintf(command, sizeof(command), "tests/pg.sh remove %s", server_dir);
    return system(command);
}

/* Runs the tests as a program's main does; its exit status. */
static inline int server_suite(const char *name, CU_InitializeFunc start, CU_CleanupFunc stop, CU_TestInfo *tests)
{
    CU_SuiteInfo suites[] = {{name, start, stop, NULL, NULL, tests}, CU_SUITE_INFO_NULL};

    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
        return 1;
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    return failures > 0;
}

#endif
