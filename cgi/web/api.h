/* api: the handlers of the JSON resources, one file each (api_*.c), and what several of them write. */
#ifndef RESPONDER_API_H
#define RESPONDER_API_H

#include <json-c/json.h>

#include "cgi/web/app.h"

void api_health_alive(struct app *app);  /* GET /healthz */
void api_health_ready(struct app *app);  /* GET /readyz */
void api_metrics(struct app *app);       /* GET /metrics */
void api_events(struct app *app);        /* POST /api/usage/events */
void api_check_one(struct app *app);     /* GET /api/usage/tenant/:id/check */
void api_check_many(struct app *app);    /* POST /api/usage/tenant/:id/check */
void api_usage_current(struct app *app); /* GET /api/usage/tenant/:id/current */
void api_usage_refresh(struct app *app); /* POST /api/usage/tenant/:id/refresh */
void api_report(struct app *app);        /* GET /api/usage/tenant/:id/report */
/* Is it YYYY-MM-DD by its form, or NULL? Whether there is such a day PostgreSQL knows. */
bool api_is_day(const char *text);
void api_refusals(struct app *app);         /* GET /api/usage/tenant/:id/refusals */
void api_history(struct app *app);          /* GET /api/usage/tenant/:id/history */
void api_tenants(struct app *app);          /* GET /api/tenants */
void api_subscription_get(struct app *app); /* GET /api/subscription/tenant/:id */
void api_subscription_put(struct app *app); /* PUT /api/subscription/tenant/:id */

/* Of ?wait=true, once more what api_events kept: may it be answered? If not, it is put back once more. */
bool api_events_done(struct app *app, void *kept);
void api_events_answer(struct app *app, void *kept);

/*
 * One limit of an answer (docs/api.md, "Check and consume"): allowed, usage, limit, remaining, overage, unlimited, resets_at, reason,
 * limit_key, metric, window, percent; and by `next`, of the same metrics asked for what the next call takes (standing_amount), mode, state
 * and message. `which` is an index into the limits of both, -1: the metric has no limit.
 */
struct json_object *api_check_shape(const struct limit_catalogue *c, uint8_t metric, const struct limit_answer *answer,
                                    const struct limit_answer *next, int which);

struct usage;
/* The specification's UsageSummary, with api_calls_today beside. */
struct json_object *api_usage_shape(const struct usage *u);

#endif
