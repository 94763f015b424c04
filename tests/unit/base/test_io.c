/* test_io.c: whole files, atomic replacement, folders, paths */
#include <CUnit/Basic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/io.h"

static char folder[64];

static int make_folder(void)
{
    strcpy(folder, "/tmp/test_io.XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];

    CU_ASSERT_EQUAL(io_path(path, sizeof path, folder, name), STATUS_OK);
    return path;
}

static void test_a_replaced_file_has_the_new_bytes_and_mode_and_leaves_nothing_beside(void)
{
    struct stat st;
    size_t length = 0;
    char *bytes = NULL;

    CU_ASSERT_EQUAL(io_replace_file(path_of("file"), "first", 5, 0644), STATUS_OK);
    CU_ASSERT_EQUAL(io_replace_file(path_of("file"), "second!", 7, 0600), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(io_read_file(path_of("file"), 7, &bytes, &length), STATUS_OK);
    CU_ASSERT_EQUAL(length, 7);
    CU_ASSERT_STRING_EQUAL(bytes, "second!");
    free(bytes);
    CU_ASSERT_EQUAL(stat(path_of("file"), &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL(unlink(path_of("file")), 0);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
    CU_ASSERT_EQUAL(mkdir(folder, 0700), 0);
}

static void test_a_file_that_is_away_or_too_long_is_told_apart(void)
{
    size_t length = 0;
    char *bytes = NULL;

    CU_ASSERT_EQUAL(io_read_file(path_of("none"), 10, &bytes, &length), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(io_replace_file(path_of("long"), "12345678901", 11, 0600), STATUS_OK);
    CU_ASSERT_EQUAL(io_read_file(path_of("long"), 10, &bytes, &length), STATUS_LIMIT);
    CU_ASSERT_PTR_NULL(bytes);
}

static void test_a_file_that_does_not_tell_its_size_is_read_whole(void)
{
    size_t length = 0;
    char *bytes = NULL;

    CU_ASSERT_EQUAL_FATAL(io_read_file("/proc/self/status", 65536, &bytes, &length), STATUS_OK);
    CU_ASSERT_TRUE(length > 100);
    CU_ASSERT_EQUAL(bytes[length], 0);
    free(bytes);
}

static void test_folders_are_made_with_their_parents_and_may_be_there(void)
{
    CU_ASSERT_EQUAL(io_make_dir(path_of("a/b/c"), 0700), STATUS_OK);
    CU_ASSERT_EQUAL(io_make_dir(path_of("a/b/c"), 0700), STATUS_OK);
    CU_ASSERT_EQUAL(io_make_dir(path_of("a/b/d/"), 0700), STATUS_OK);
    CU_ASSERT_EQUAL(io_replace_file(path_of("plain"), "", 0, 0600), STATUS_OK);
    CU_ASSERT_EQUAL(io_make_dir(path_of("plain"), 0700), STATUS_IO);
}

static void test_a_path_that_does_not_fit_is_refused(void)
{
    char out[8];

    CU_ASSERT_EQUAL(io_path(out, sizeof out, "/abc", "de"), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(out, "/abc/de");
    CU_ASSERT_EQUAL(io_path(out, sizeof out, "/abc", "def"), STATUS_LIMIT);
    CU_ASSERT_EQUAL(io_path(out, sizeof out, "/abc/", "de"), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(out, "/abc/de");
}

static void test_a_full_disk_is_told(void)
{
    int fd = open("/dev/full", O_WRONLY);

    if (fd < 0)
        return;
    CU_ASSERT_EQUAL(io_write_all(fd, "x", 1), STATUS_NO_SPACE);
    close(fd);
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    CU_initialize_registry();
    s = CU_add_suite("io", make_folder, remove_folder);
    CU_ADD_TEST(s, test_a_replaced_file_has_the_new_bytes_and_mode_and_leaves_nothing_beside);
    CU_ADD_TEST(s, test_a_file_that_is_away_or_too_long_is_told_apart);
    CU_ADD_TEST(s, test_a_file_that_does_not_tell_its_size_is_read_whole);
    CU_ADD_TEST(s, test_folders_are_made_with_their_parents_and_may_be_there);
    CU_ADD_TEST(s, test_a_path_that_does_not_fit_is_refused);
    CU_ADD_TEST(s, test_a_full_disk_is_told);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
