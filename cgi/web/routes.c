/* routes.c: every path that tollgate-web answers */
#include "cgi/web/routes.h"

#include "cgi/web/api.h"
#include "cgi/web/page.h"

#define TENANT "/api/usage/tenant/:id"

#define READ LIMIT_SCOPE_READ
#define TRACK LIMIT_SCOPE_TRACK
#define ADMIN LIMIT_SCOPE_ADMIN
#define METRICS LIMIT_SCOPE_METRICS

const struct route routes[] = {
    {METHOD_GET, "/healthz", WHO_ANYONE, 0, BODY_NONE, false, api_health_alive},
    {METHOD_GET, "/readyz", WHO_ANYONE, 0, BODY_NONE, false, api_health_ready},
    {METHOD_GET, "/metrics", WHO_KEY_OPERATOR, METRICS, BODY_NONE, false, api_metrics},

    {METHOD_POST, "/api/usage/events", WHO_KEY, TRACK, BODY_EVENTS, false, api_events},
    {METHOD_GET, TENANT "/check", WHO_KEY, READ | TRACK, BODY_NONE, false, api_check_one},
    {METHOD_POST, TENANT "/check", WHO_KEY, READ | TRACK, BODY_JSON, false, api_check_many},
    {METHOD_GET, TENANT "/current", WHO_KEY, READ, BODY_NONE, false, api_usage_current},
    {METHOD_GET, TENANT "/report", WHO_KEY, READ, BODY_NONE, false, api_report},
    {METHOD_GET, TENANT "/history", WHO_KEY, READ, BODY_NONE, false, api_history},
    {METHOD_GET, TENANT "/refusals", WHO_KEY, READ, BODY_NONE, false, api_refusals},
    {METHOD_POST, TENANT "/refresh", WHO_KEY, ADMIN, BODY_JSON, false, api_usage_refresh},
    {METHOD_GET, "/api/tenants", WHO_KEY, READ, BODY_NONE, false, api_tenants},
    {METHOD_GET, "/api/subscription/tenant/:id", WHO_KEY, READ, BODY_NONE, false, api_subscription_get},
    {METHOD_PUT, "/api/subscription/tenant/:id", WHO_KEY_OPERATOR, ADMIN, BODY_JSON, false, api_subscription_put},

    {METHOD_GET, "/sign-in", WHO_ANYONE, 0, BODY_NONE, false, page_sign_in_form},
    {METHOD_POST, "/sign-in", WHO_ANYONE, 0, BODY_FORM, true, page_sign_in},
    {METHOD_POST, "/sign-out", WHO_VIEWER, 0, BODY_FORM, true, page_sign_out},
    {METHOD_GET, "/account", WHO_VIEWER, 0, BODY_NONE, false, page_account_form},
    {METHOD_POST, "/account", WHO_VIEWER, 0, BODY_FORM, true, page_account},
    {METHOD_GET, "/", WHO_VIEWER, 0, BODY_NONE, false, page_start},
    {METHOD_GET, "/tenant/:id", WHO_VIEWER, 0, BODY_NONE, false, page_overview},
    {METHOD_POST, "/tenant/:id/refresh", WHO_ADMIN, 0, BODY_FORM, true, page_refresh},
    {METHOD_GET, "/tenants", WHO_OPERATOR, 0, BODY_NONE, false, page_tenants},
    {METHOD_GET, "/status", WHO_OPERATOR, 0, BODY_NONE, false, page_status},
};
const size_t n_routes = sizeof(routes) / sizeof(routes[0]);
