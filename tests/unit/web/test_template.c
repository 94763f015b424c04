/* test_template.c: a slot is escaped for the place that it stands in, whatever comes into it */
#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buffer.h"
#include "lib/base/io.h"
#include "lib/web/template.h"

#define HEAD "{{%AUTOESCAPE context=\"HTML\"}}"

static const struct {
    const char *name, *text;
} files[] = {
    {"text.tpl", HEAD "<p>{{NAME}}</p>"},
    {"attribute.tpl", HEAD "<input title=\"{{NAME}}\" value='{{NAME}}'>"},
    {"url.tpl", HEAD "<a href=\"/tenants?q={{NAME:u}}\">x</a>"},
    {"whole_url.tpl", HEAD "<a href=\"{{NAME}}\">x</a>"},
    {"sections.tpl", HEAD "{{#ROW}}<i>{{N}}{{EVERY}}</i>{{/ROW}}{{#NONE}}never{{/NONE}}"},
    {"outer.tpl", HEAD "{{>PART}}"},
    {"part.tpl", HEAD "<b>{{NAME}}{{EVERY}}</b>"},
};
static char dir[] = "/tmp/tollgate-template-XXXXXX";

static int write_files(void)
{
    char path[256], problem[256];

    if (mkdtemp(dir) == NULL)
        return 1;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        if (io_replace_file(path, files[i].text, strlen(files[i].text), 0600) != STATUS_OK)
            return 1;
    }
    return template_load(dir, problem, sizeof problem) == STATUS_OK ? 0 : 1;
}

static int remove_files(void)
{
    char path[256];

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        unlink(path);
    }
    return rmdir(dir);
}

/* `file` with NAME set to `value`; lives until the next call. */
static const char *page(const char *file, const char *value)
{
    static char text[1024];
    struct template_dict *d = template_create();
    struct buffer out;

    buffer_init(&out, sizeof text);
    template_set(d, "NAME", value);
    CU_ASSERT_EQUAL_FATAL(template_render(file, d, &out), STATUS_OK);
    template_destroy(d);
    snprintf(text, sizeof text, "%.*s", (int)out.length, out.data);
    buffer_term(&out);
    return text;
}

static void text_can_open_no_tag(void)
{
    CU_ASSERT_STRING_EQUAL(page("text.tpl", "Miller & Sons"), "<p>Miller &amp; Sons</p>");
    CU_ASSERT_STRING_EQUAL(page("text.tpl", "<script>alert(1)</script>"),
                           "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>");
    CU_ASSERT_STRING_EQUAL(page("text.tpl", "&lt;"), "<p>&amp;lt;</p>");
    CU_ASSERT_STRING_EQUAL(page("text.tpl", "Zahnärzte 歯科 {{NAME}}"), "<p>Zahnärzte 歯科 {{NAME}}</p>");
}

static void an_attribute_can_not_be_left(void)
{
    const char *html = page("attribute.tpl", "\"><img src=x onerror=alert(1)>' autofocus onfocus='alert(1)");

    CU_ASSERT_PTR_NULL(strstr(html, "<img"));
    CU_ASSERT_PTR_NULL(strstr(html, "' autofocus"));
    CU_ASSERT_PTR_NULL(strstr(html, "\">&lt;img"));
    CU_ASSERT_PTR_NOT_NULL(strstr(html, "&quot;&gt;&lt;img"));
}

static void a_part_of_a_url_is_percent_encoded(void)
{
    const char *html = page("url.tpl", "a&percent=0\"><b># %");

    CU_ASSERT_PTR_NOT_NULL(strstr(html, "q=a%26percent%3D0"));
    CU_ASSERT_PTR_NULL(strstr(html, "<b>"));
    CU_ASSERT_PTR_NULL(strchr(html, '#'));
}

static void a_whole_url_is_none_that_runs_script(void)
{
    CU_ASSERT_PTR_NULL(strstr(page("whole_url.tpl", "javascript:alert(1)"), "javascript:"));
    CU_ASSERT_PTR_NULL(strstr(page("whole_url.tpl", "data:text/html,<script>"), "data:"));
    CU_ASSERT_PTR_NOT_NULL(strstr(page("whole_url.tpl", "/tenant/a%20b"), "href=\"/tenant/a%20b\""));
}

static void sections_repeat_and_includes_see_what_is_everywhere(void)
{
    struct template_dict *d = template_create();
    struct buffer out;

    buffer_init(&out, 1024);
    template_set_everywhere(d, "EVERY", "<!>");
    template_set(template_section(d, "ROW"), "N", "1");
    template_set(template_section(d, "ROW"), "N", "2<");
    CU_ASSERT_EQUAL(template_render("sections.tpl", d, &out), STATUS_OK);
    CU_ASSERT_EQUAL(out.length, strlen("<i>1&lt;!&gt;</i><i>2&lt;&lt;!&gt;</i>"));
    CU_ASSERT_EQUAL(memcmp(out.data, "<i>1&lt;!&gt;</i><i>2&lt;&lt;!&gt;</i>", out.length), 0);
    buffer_clear(&out);
    template_set(template_include(d, "PART", "part.tpl"), "NAME", "<i>");
    CU_ASSERT_EQUAL(template_render("outer.tpl", d, &out), STATUS_OK);
    CU_ASSERT_EQUAL(memcmp(out.data, "<b>&lt;i&gt;&lt;!&gt;</b>", out.length), 0);
    template_destroy(d);
    buffer_term(&out);
}

static void what_is_missing_or_too_large_is_told(void)
{
    struct template_dict *d = template_create();
    struct buffer out;
    char problem[256] = "";

    buffer_init(&out, 4);
    CU_ASSERT_EQUAL(template_render("nothing.tpl", d, &out), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(template_render("text.tpl", d, &out), STATUS_NO_MEMORY);
    CU_ASSERT_EQUAL(template_render("text.tpl", NULL, &out), STATUS_NO_MEMORY);
    CU_ASSERT_EQUAL(template_load("/nowhere/at/all", problem, sizeof problem), STATUS_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(problem, "/nowhere/at/all"));
    template_set(NULL, "NAME", "x");
    CU_ASSERT_PTR_NULL(template_section(NULL, "ROW"));
    template_destroy(d);
    template_destroy(NULL);
    buffer_term(&out);
}

/* C++'s operators new and delete, so that the allocation after `until_failure` more fails as they fail: by an exception. */
void _ZSt17__throw_bad_allocv(void); /* std::__throw_bad_alloc */
void *_Znwm(size_t size);
void _ZdlPv(void *p);
void _ZdlPvm(void *p, size_t size);
static int until_failure = -1;

void *_Znwm(size_t size)
{
    void *p = until_failure == 0 ? NULL : malloc(size ? size : 1);

    if (until_failure >= 0)
        until_failure--;
    if (p == NULL)
        _ZSt17__throw_bad_allocv();
    return p;
}

void _ZdlPv(void *p)
{
    free(p);
}

void _ZdlPvm(void *p, size_t size)
{
    (void)size;
    free(p);
}

static void put_everything(struct template_dict *d)
{
    template_set(d, "NAME", "n");
    template_set_everywhere(d, "EVERY", "!");
    template_set(template_section(d, "ROW"), "N", "1");
    template_show(d, "NONE");
    template_set(template_include(d, "PART", "part.tpl"), "NAME", "n");
}

static void a_page_that_lacks_something_for_want_of_memory_is_not_rendered(void)
{
    int failures = 0;

    for (int n = 0;; n++) {
        struct template_dict *d = template_create();
        struct buffer out;

        buffer_init(&out, 0);
        until_failure = n;
        put_everything(d);
        bool all = until_failure >= 0;

        until_failure = -1;
        CU_ASSERT_EQUAL(template_render("sections.tpl", d, &out), all ? STATUS_OK : STATUS_NO_MEMORY);
        CU_ASSERT_EQUAL(out.length > 0, all);
        template_destroy(d);
        buffer_term(&out);
        if (all)
            break;
        failures++;
        CU_ASSERT_STRING_EQUAL(page("text.tpl", "the next one"), "<p>the next one</p>");
    }
    CU_ASSERT(failures > 0);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("template", write_files, remove_files);
    CU_ADD_TEST(suite, text_can_open_no_tag);
    CU_ADD_TEST(suite, an_attribute_can_not_be_left);
    CU_ADD_TEST(suite, a_part_of_a_url_is_percent_encoded);
    CU_ADD_TEST(suite, a_whole_url_is_none_that_runs_script);
    CU_ADD_TEST(suite, sections_repeat_and_includes_see_what_is_everywhere);
    CU_ADD_TEST(suite, what_is_missing_or_too_large_is_told);
    CU_ADD_TEST(suite, a_page_that_lacks_something_for_want_of_memory_is_not_rendered);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
