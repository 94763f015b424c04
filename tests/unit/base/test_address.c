/* test_address.c: what a path is under which configuration, and which configurations can't be */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/address.h"

static char problem[512];

/* A configuration of these values; NULL leaves the default. NULL when it is refused, with `problem` set. */
static struct config *configure(const char *metered, const char *unmetered, const char *api, const char *page,
                                const char *header)
{
    char path[] = "/tmp/test_address.XXXXXX";
    struct config *c = NULL;
    FILE *f = fdopen(mkstemp(path), "w");
    fputs("[gate]\n", f);
    if (metered)
        fprintf(f, "prefix = %s\n", metered);
    if (unmetered)
        fprintf(f, "unmetered = %s\n", unmetered);
    if (header)
        fprintf(f, "key_header = %s\n", header);
    fputs("[web]\n", f);
    if (api)
        fprintf(f, "api_prefix = %s\n", api);
    if (page)
        fprintf(f, "page_prefix = %s\n", page);
    fclose(f);
    if (config_load(path, &c, problem) != STATUS_OK)
        c = NULL;
    unlink(path);
    return c;
}

static const char *const names[] = {"outside", "metered", "unmetered", "api", "api, metered", "page"};

static void the_most_specific_prefix_decides(void)
{
    static const struct {
        const char *metered, *unmetered, *api, *page;
        struct {
            const char *path;
            enum address is;
        } paths[16];
    } cases[] = {
        /* as it comes */
        {NULL,
         NULL,
         NULL,
         NULL,
         {{"/api", ADDRESS_METERED},
          {"/api/", ADDRESS_METERED},
          {"/api/orders/1", ADDRESS_METERED},
          {"/api/usage", ADDRESS_API},
          {"/api/usage/events", ADDRESS_API},
          {"/api/usages", ADDRESS_METERED},
          {"/api/subscription/tenant/a", ADDRESS_API},
          {"/api/tenants", ADDRESS_API_METERED},
          {"/api/tenantsx", ADDRESS_METERED},
          {"/apix", ADDRESS_PAGE},
          {"/", ADDRESS_PAGE},
          {"/tenants", ADDRESS_PAGE},
          {"/static/tollgate.css", ADDRESS_PAGE},
          {"/API", ADDRESS_PAGE}}},
        /* everything is metered, what is Tollgate's own is carved out */
        {"/",
         NULL,
         NULL,
         "/usage",
         {{"/", ADDRESS_METERED},
          {"/orders", ADDRESS_METERED},
          {"/usage", ADDRESS_PAGE},
          {"/usage/", ADDRESS_PAGE},
          {"/usage/static/tollgate.css", ADDRESS_PAGE},
          {"/usages", ADDRESS_METERED},
          {"/api", ADDRESS_API},
          {"/api/usage/events", ADDRESS_API},
          {"/api/tenants", ADDRESS_API},
          {"/api/orders", ADDRESS_API},
          {"/static/tollgate.css", ADDRESS_METERED}}},
        /* a host name that is shared, two metered prefixes */
        {"/v1, /rest",
         "/v1/status",
         "/tollgate/api",
         "/usage",
         {{"/v1", ADDRESS_METERED},
          {"/v1/x", ADDRESS_METERED},
          {"/v10", ADDRESS_OUTSIDE},
          {"/rest/x", ADDRESS_METERED},
          {"/v1/status", ADDRESS_UNMETERED},
          {"/v1/status/deep", ADDRESS_UNMETERED},
          {"/v1/statuses", ADDRESS_METERED},
          {"/tollgate/api/usage/events", ADDRESS_API},
          {"/tollgate/api/tenants", ADDRESS_API},
          {"/tollgate/api", ADDRESS_API},
          {"/tollgate", ADDRESS_OUTSIDE},
          {"/api/usage/events", ADDRESS_OUTSIDE},
          {"/usage/tenants", ADDRESS_PAGE},
          {"/", ADDRESS_OUTSIDE},
          {"/tenants", ADDRESS_OUTSIDE}}},
        /* one inside another */
        {"/a,/a/b/c",
         "/a/b",
         "/a/own",
         "/a/b/pages",
         {{"/a/x", ADDRESS_METERED},
          {"/a/b", ADDRESS_UNMETERED},
          {"/a/b/c", ADDRESS_METERED},
          {"/a/b/c/d", ADDRESS_METERED},
          {"/a/b/pages/status", ADDRESS_PAGE},
          {"/a/own/usage", ADDRESS_API},
          {"/a/own/tenants", ADDRESS_API},
          {"/a/ownx", ADDRESS_METERED}}},
        /* what was needed before is still understood */
        {NULL,
         "/api/usage,/api/subscription",
         NULL,
         NULL,
         {{"/api/usage/events", ADDRESS_API}, {"/api/subscription", ADDRESS_API}, {"/api/x", ADDRESS_METERED}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c = configure(cases[i].metered, cases[i].unmetered, cases[i].api, cases[i].page, NULL);
        if (!c)
            printf("\ncase %zu: %s\n", i, problem);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c);
        for (size_t j = 0; j < 16 && cases[i].paths[j].path; j++) {
            enum address is = address_of(c, cases[i].paths[j].path);
            if (is != cases[i].paths[j].is)
                printf("\ncase %zu: %s is %s\n", i, cases[i].paths[j].path, names[is]);
            CU_ASSERT_EQUAL(is, cases[i].paths[j].is);
        }
        config_free(c);
    }
}

static void a_prefix_ends_at_a_segment(void)
{
    CU_ASSERT_TRUE(address_below("/api", "/api"));
    CU_ASSERT_TRUE(address_below("/api/x", "/api"));
    CU_ASSERT_FALSE(address_below("/apis", "/api"));
    CU_ASSERT_FALSE(address_below("/", "/api"));
    CU_ASSERT_TRUE(address_below("/", "/"));
    CU_ASSERT_TRUE(address_below("/x", "/"));
    CU_ASSERT_FALSE(address_below("", "/"));
    CU_ASSERT_FALSE(address_below("*", "/"));
    CU_ASSERT_STRING_EQUAL(address_base("/"), "");
    CU_ASSERT_STRING_EQUAL(address_base("/usage"), "/usage");
}

static void what_can_not_be_is_refused_and_says_why(void)
{
    static const struct {
        const char *metered, *unmetered, *api, *page, *header, *says;
    } cases[] = {
        {"api", NULL, NULL, NULL, NULL, "gate.prefix: \"api\" is not a path"},
        {"/api/", NULL, NULL, NULL, NULL, "not end in one"},
        {"/api//x", NULL, NULL, NULL, NULL, "empty or dot segments"},
        {"/api/../x", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/./x", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/a b", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/a%20b", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/a?b", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/a\"b", NULL, NULL, NULL, NULL, "gate.prefix"},
        {"/a,/b,/a", NULL, NULL, NULL, NULL, "twice"},
        {"/1,/2,/3,/4,/5,/6,/7,/8,/9", NULL, NULL, NULL, NULL, "up to 8"},
        {",", NULL, NULL, NULL, NULL, "no path is metered"},
        {"/", NULL, NULL, NULL, NULL, "the pages could not be reached"},
        {"/usage", NULL, NULL, "/usage", NULL, "set web.page_prefix"},
        {"/tenants", NULL, NULL, NULL, NULL, "own page at /tenants"},
        {"/static/x", NULL, NULL, NULL, NULL, "own page at /static"},
        {"/api,/api/usage", NULL, NULL, NULL, NULL, "own API at /api/usage"},
        {NULL, NULL, "/usage", "/usage", NULL, "both /usage"},
        {NULL, NULL, "/", "/", NULL, "both /"},
        {NULL, NULL, "/", "/usage", NULL, "own API at /usage"},
        {NULL, NULL, "/status", NULL, NULL, "web.api_prefix: /status takes the place"},
        {NULL, NULL, "/tollgate/", NULL, NULL, "web.api_prefix"},
        {NULL, NULL, NULL, "usage", NULL, "web.page_prefix"},
        {NULL, NULL, NULL, "/api/usage/pages", NULL, "web.page_prefix"},
        {NULL, "/other", NULL, NULL, NULL, "gate.unmetered: /other is not below"},
        {NULL, "/api", NULL, NULL, NULL, "gate.unmetered: /api is not below"},
        {NULL, "/api/x/", NULL, NULL, NULL, "gate.unmetered"},
        {NULL, NULL, NULL, NULL, "X Key", "not a header's name"},
        {NULL, NULL, NULL, NULL, "X_Key", "not a header's name"},
        {NULL, NULL, NULL, NULL, "9", "not a header's name"},
        {NULL, NULL, NULL, NULL, "X-Key:", "not a header's name"},
        {NULL, NULL, NULL, NULL, "x-tenant-id", "another meaning"},
        {NULL, NULL, NULL, NULL, "X-Tollgate-Key", "another meaning"},
        {NULL, NULL, NULL, NULL, "Cookie", "another meaning"},
        {NULL, NULL, NULL, NULL, "host", "another meaning"},
        {NULL, NULL, NULL, NULL, "Connection", "another meaning"},
        {NULL, NULL, NULL, NULL, "Content-Type", "another meaning"},
        {NULL, NULL, NULL, NULL, "X-Forwarded-For", "another meaning"},
        {NULL, NULL, NULL, NULL, "Proxy", "another meaning"},
        {NULL, NULL, NULL, NULL, "Proxy-Authorization", "another meaning"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c = configure(cases[i].metered, cases[i].unmetered, cases[i].api, cases[i].page,
                                     cases[i].header);
        bool right = !c && strstr(problem, cases[i].says);
        if (!right)
            printf("\ncase %zu, \"%s\": %s\n", i, cases[i].says, c ? "accepted" : problem);
        CU_ASSERT_TRUE(right);
        config_free(c);
    }
}

static void what_can_be_is_accepted(void)
{
    static const struct {
        const char *metered, *unmetered, *api, *page, *header;
    } cases[] = {
        {"/v1,/rest", NULL, "/tollgate/api", "/usage", "X-API-Key"},
        {"/", NULL, NULL, "/usage", "authorization"},
        {"/", NULL, "/usage/api", "/usage", NULL},
        {"/v1.0/~a_b-c", NULL, NULL, NULL, "ApiKey"},
        {"/api", "/api/public", NULL, NULL, NULL},
        {"/", "/health", "/t", "/u", NULL},
        {"/...", NULL, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *c = configure(cases[i].metered, cases[i].unmetered, cases[i].api, cases[i].page,
                                     cases[i].header);
        if (!c)
            printf("\ncase %zu: %s\n", i, problem);
        CU_ASSERT_PTR_NOT_NULL(c);
        config_free(c);
    }
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("address", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(the_most_specific_prefix_decides);
    ADD(a_prefix_ends_at_a_segment);
    ADD(what_can_not_be_is_refused_and_says_why);
    ADD(what_can_be_is_accepted);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
