/* template.cc: libctemplate behind C functions; no exception leaves this file */
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

void template_set(struct template_dict *d, const char *name, const char *value)
{
    if (d != NULL)
        inner(d)->SetValue(name, value);
}

void template_set_everywhere(struct template_dict *d, const char *name, const char *value)
{
    if (d != NULL)
        inner(d)->SetTemplateGlobalValue(name, value);
}

void template_show(struct template_dict *d, const char *section)
{
    if (d != NULL)
        inner(d)->ShowSection(section);
}

struct template_dict *template_section(struct template_dict *d, const char *section)
{
    return d == NULL ? NULL : outer(inner(d)->AddSectionDictionary(section));
}

struct template_dict *template_include(struct template_dict *d, const char *name, const char *file)
{
    TemplateDictionary *included;

    if (d == NULL)
        return NULL;
    included = inner(d)->AddIncludeDictionary(name);
    included->SetFilename(file);
    return outer(included);
}

static enum status render(const char *file, ctemplate::Strip strip, const struct template_dict *d, struct buffer *out)
{
    if (d == NULL)
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
