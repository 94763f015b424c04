/*
 * usage: what a tenant uses now, by the day, and against its plan. Callers are in a transaction (db_begin) whose tenant
 * row-level security goes by. Amounts are millionths. Called by tollgate-web and, as the owner, by the command line.
 */
#ifndef STORE_USAGE_H
#define STORE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/standing.h"
#include "lib/store/db.h"

#define USAGE_NAME_SIZE 256
#define USAGE_TIME_SIZE 32 /* "2026-11-24T09:00:00.123Z" */
#define USAGE_DAY_SIZE 16  /* "2026-11-24" */

/* The summary of the period that now is in. */
struct usage {
    int64_t id;
    char tenant_id[256];
    char period_start[USAGE_DAY_SIZE], period_end[USAGE_DAY_SIZE]; /* inclusive */
    int64_t patients, users, api_calls, file_uploads, appointments;
    int64_t storage;         /* millionths of a GB */
    int64_t api_calls_today; /* of the tenant's day */
    char created_at[USAGE_TIME_SIZE], updated_at[USAGE_TIME_SIZE];
};

struct usage_report {
    struct usage usage;
    char tenant_name[USAGE_NAME_SIZE];
    enum limit_state state;
    bool subscribed; /* else there is no tier and every call is refused */
    char tier_id[128], tier_name[128];
    char *limits; /* usage_limits of the subscription, a JSON object, "{}" without one; malloc'ed */
    size_t n;
    struct standing_limit *limit; /* gauges first, then by key; malloc'ed */
};

/* A row of zeros when nothing was used yet. STATUS_NOT_FOUND: no such tenant (that this transaction may see). */
MUST_CHECK enum status usage_current(struct db *d, const char *tenant, struct usage *out);
/* The same with plan and limits. usage_report_term frees what it holds. */
MUST_CHECK enum status usage_report_read(struct db *d, const char *tenant, struct usage_report *out);
void usage_report_term(struct usage_report *r);
/* Counts anew what is counted from tables, and asks for a measurement of the storage. */
MUST_CHECK enum status usage_refresh(struct db *d, const char *tenant);

/* How many event ids of the tenant were claimed by events appended at that instant (the writer's clock). */
MUST_CHECK enum status usage_claimed(struct db *d, const char *tenant, int64_t appended_us, int64_t *n);

#endif
