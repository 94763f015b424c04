/*
 * template: HTML pages out of templates, every slot escaped for the place it stands in.
 *
 * A small C face of libctemplate, and the only C++ in the project (template.cc). All templates are parsed at the start
 * and kept for the life of the process. A dictionary belongs to the caller (template_destroy); its sections belong to
 * it. Texts are copied. Called by tollgate-web.
 */
#ifndef WEB_TEMPLATE_H
#define WEB_TEMPLATE_H

#include <stddef.h>

#include "lib/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct buffer;
struct template_dict;

/* Parses every *.tpl of `dir`. STATUS_NOT_FOUND: no such folder; STATUS_INVALID: `problem` names the broken one. */
MUST_CHECK enum status template_load(const char *dir, char *problem, size_t size);

/* NULL without memory; every function below takes NULL and does nothing. */
struct template_dict *template_create(void);
void template_destroy(struct template_dict *d);
void template_set(struct template_dict *d, const char *name, const char *value);
/* The same for this dictionary and everything below it, included templates too. */
void template_set_everywhere(struct template_dict *d, const char *name, const char *value);
void template_show(struct template_dict *d, const char *section);
/* Shows the section once more, with values of its own. */
struct template_dict *template_section(struct template_dict *d, const char *section);
/* Puts another template where {{>NAME}} stands. */
struct template_dict *template_include(struct template_dict *d, const char *name, const char *file);
/*
 * Appends the page to `out`. STATUS_NOT_FOUND: no such template; STATUS_NO_MEMORY also when there was none for something that
 * was put into the page before.
 */
MUST_CHECK enum status template_render(const char *file, const struct template_dict *d, struct buffer *out);
/* The same for a text that is no page, such as a server's configuration: `path` is the whole path of a template of its own,
 * no slot is escaped, and lines stay lines. STATUS_NOT_FOUND: it can't be read. */
MUST_CHECK enum status template_render_text(const char *path, const struct template_dict *d, struct buffer *out);

#ifdef __cplusplus
}
#endif

#endif
