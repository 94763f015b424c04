/* template.cc: libctemplate behind C functions; what it throws is caught here, as C can't */
#include "lib/web/template.h"

#include <ctemplate/template.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <string>

extern "C" {
#include "lib/base/buffer.h"
}

using ctemplate::TemplateDictionary;

static TemplateDictionary *inner(struct template_dict *d)
{
    return reinterpret_cast<TemplateDictionary *>(d);
}

static struct template_dict *outer(TemplateDictionary *d)
{
    return reinterpret_cast<struct template_dict *>(d);
}

static bool is_template(const char *name)
{
    size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".tpl") == 0;
}

enum status template_load(const char *dir, char *problem, size_t size)
{
    enum status s = STATUS_OK;
    DIR *folder = opendir(dir);

    if (folder == NULL) {
        snprintf(problem, size, "the folder of the templates, %s, can't be read", dir);
        return STATUS_NOT_FOUND;
    }
    try {
        ctemplate::Template::SetTemplateRootDirectory(dir);
        for (struct dirent *e; s == STATUS_OK && (e = readdir(folder)) != NULL;) {
            if (is_template(e->d_name) && !ctemplate::LoadTemplate(e->d_name, ctemplate::STRIP_WHITESPACE)) {
                snprintf(problem, size, "the template %s/%s is broken", dir, e->d_name);
                s = STATUS_INVALID;
            }
        }
    } catch (...) {
        snprintf(problem, size, "no memory for the templates");
        s = STATUS_NO_MEMORY;
    }
    closedir(folder);
    return s;
}

struct template_dict *template_create(void)
{
    try {
        return outer(new TemplateDictionary("page"));
    } catch (...) {
        return NULL;
    }
}

void template_destroy(struct template_dict *d)
{
    delete inner(d);
}

/*
 * Something could not be put into the page that is being made: it is not rendered without it. A program makes one page at a
 * time, so that this belongs to the next template_render.
 */
static bool incomplete;

/* Runs `put` when there is a dictionary; what it throws ends here. */
template <typename Put> static void guarded(struct template_dict *d, Put put)
{
    try {
        if (d != NULL)
            put(inner(d));
    } catch (...) {
        incomplete = true;
    }
}

void template_set(struct template_dict *d, const char *name, const char *value)
{
    guarded(d, [=](TemplateDictionary *to) { to->SetValue(name, value); });
}

void template_set_everywhere(struct template_dict *d, const char *name, const char *value)
{
    guarded(d, [=](TemplateDictionary *to) { to->SetTemplateGlobalValue(name, value); });
}

void template_show(struct template_dict *d, const char *section)
{
    guarded(d, [=](TemplateDictionary *to) { to->ShowSection(section); });
}

struct template_dict *template_section(struct template_dict *d, const char *section)
{
    TemplateDictionary *made = NULL;

    guarded(d, [&](TemplateDictionary *to) { made = to->AddSectionDictionary(section); });
    return outer(made);
}

struct template_dict *template_include(struct template_dict *d, const char *name, const char *file)
{
    TemplateDictionary *made = NULL;

    guarded(d, [&](TemplateDictionary *to) {
        made = to->AddIncludeDictionary(name);
        made->SetFilename(file);
    });
    return outer(made);
}

static enum status render(const char *file, ctemplate::Strip strip, const struct template_dict *d, struct buffer *out)
{
    bool whole = d != NULL && !incomplete;

    incomplete = false;
    if (!whole)
        return STATUS_NO_MEMORY;
    try {
        std::string page;

        if (!ctemplate::ExpandTemplate(file, strip, reinterpret_cast<const TemplateDictionary *>(d), &page))
            return STATUS_NOT_FOUND;
        buffer_add(out, page.data(), page.size());
    } catch (...) {
        return STATUS_NO_MEMORY;
    }
    return out->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status template_render(const char *file, const struct template_dict *d, struct buffer *out)
{
    return render(file, ctemplate::STRIP_WHITESPACE, d, out);
}

enum status template_render_text(const char *path, const struct template_dict *d, struct buffer *out)
{
    return render(path, ctemplate::STRIP_BLANK_LINES, d, out);
}
