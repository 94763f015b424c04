/* test_storage.c: how many bytes a tenant's files are, in one go and in pieces */
#include <CUnit/Basic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/remote/storage.h"

static char root[] = "/tmp/tg-storage-XXXXXX";

static void make_file(const char *path, size_t bytes)
{
    char full[4096];
    FILE *f;

    snprintf(full, sizeof(full), "%s/%s", root, path);
    if (!(f = fopen(full, "w")))
        abort();
    for (size_t i = 0; i < bytes; i++)
        fputc('x', f);
    fclose(f);
}

static void make_dir(const char *path)
{
    char full[4096];

    snprintf(full, sizeof(full), "%s/%s", root, path);
    if (mkdir(full, 0700) != 0)
        abort();
}

/* Says stop at every second question. */
static bool every_second(void *arg)
{
    int *asked = arg;

    return ++*asked % 2 == 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void files_below_a_folder_are_summed_up(void)
{
    const struct storage *s = storage_find(0);
    struct storage_walk *w;
    int64_t bytes = -1;

    CU_ASSERT_EQUAL_FATAL(s->begin(root, "t", &w), STATUS_OK);
    CU_ASSERT_EQUAL(s->go_on(w, never, NULL, &bytes), STATUS_OK);
    CU_ASSERT_EQUAL(bytes, 1 + 20 + 300);
    s->end(w);
}

static void a_walk_goes_on_where_it_stopped(void)
{
    const struct storage *s = storage_find(0);
    struct storage_walk *w;
    int64_t bytes = -1;
    int asked = 0, stops = 0;
    enum status st;

    CU_ASSERT_EQUAL_FATAL(s->begin(root, "t", &w), STATUS_OK);
    while ((st = s->go_on(w, every_second, &asked, &bytes)) == STATUS_END) {
        CU_ASSERT_EQUAL(bytes, -1);
        stops++;
    }
    CU_ASSERT_EQUAL(st, STATUS_OK);
    CU_ASSERT(stops > 4);
    CU_ASSERT_EQUAL(bytes, 1 + 20 + 300);
    s->end(w);
}

static void a_walk_may_be_left_in_the_middle(void)
{
    const struct storage *s = storage_find(0);
    struct storage_walk *w;
    int64_t bytes;
    int asked = 1, open = dup(0);

    close(open);
    CU_ASSERT_EQUAL_FATAL(s->begin(root, "t", &w), STATUS_OK);
    CU_ASSERT_EQUAL(s->go_on(w, every_second, &asked, &bytes), STATUS_END);
    s->end(w);
    int again = dup(0);
    CU_ASSERT_EQUAL(again, open); /* no folder stays open */
    close(again);
    s->end(NULL);
}

static void paths_stay_below_the_root(void)
{
    const struct storage *s = storage_find(0);
    struct storage_walk *w;
    int64_t bytes = -1;

    CU_ASSERT_EQUAL(s->begin(root, "../etc", &w), STATUS_INVALID);
    CU_ASSERT_EQUAL(s->begin(root, "/etc", &w), STATUS_INVALID);
    CU_ASSERT_EQUAL(s->begin(root, "", &w), STATUS_INVALID);
    CU_ASSERT_EQUAL(s->begin("/nonexistent", "t", &w), STATUS_IO);
    CU_ASSERT_EQUAL_FATAL(s->begin(root, "none", &w), STATUS_OK);
    CU_ASSERT_EQUAL(s->go_on(w, never, NULL, &bytes), STATUS_OK);
    CU_ASSERT_EQUAL(bytes, 0);
    s->end(w);
    CU_ASSERT_PTR_NULL(storage_find(1));
}

static int make_tree(void)
{
    if (!mkdtemp(root))
        return 1;
    make_dir("t");
    make_dir("t/a");
    make_dir("t/a/b");
    make_file("t/one", 1);
    make_file("t/a/twenty", 20);
    make_file("t/a/b/more", 300);
    make_file("beside", 4000);
    return 0;
}

static int remove_tree(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("storage", make_tree, remove_tree);
    CU_ADD_TEST(suite, files_below_a_folder_are_summed_up);
    CU_ADD_TEST(suite, a_walk_goes_on_where_it_stopped);
    CU_ADD_TEST(suite, a_walk_may_be_left_in_the_middle);
    CU_ADD_TEST(suite, paths_stay_below_the_root);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
