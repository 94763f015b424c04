/*
 * tenant_id.h: which texts may be a tenant's id. An id stands in headers (X-Tenant-ID), where a comma parts values and blanks at the
 * ends are cut off, so it has 1 to TENANT_ID_MAX bytes of UTF-8, no control character, no comma, and no white space at its ends.
 * The command line says so before it makes or adopts a tenant; the database has the same rule as tollgate.tenant_id_problem, and
 * tests/sql compares the two. Owns nothing.
 */
#ifndef TOLLGATE_BASE_TENANT_ID_H
#define TOLLGATE_BASE_TENANT_ID_H

#define TENANT_ID_MAX 255 /* bytes */

/* What is wrong with `id`, as the end of a sentence ("holds a comma"); NULL when nothing is. That it is UTF-8 is the caller's to know. */
const char *tenant_id_problem(const char *id);

#endif
