/* routes.c: every path that tollgate-web answers */
#include "cgi/responder/routes.h"

#include "cgi/responder/api.h"
#include "cgi/responder/page.h"

#define TENANT "/api/usage/tenant/:id"

const struct route routes[] = {
    {METHOD_GET, "/healthz", WHO_ANYONE, false, api_health_alive},
    {METHOD_GET, "/readyz", WHO_ANYONE, false, api_health_ready},
    {METHOD_GET, "/metrics", WHO_KEY_OPERATOR, false, api_metrics},

    {METHOD_POST, "/api/usage/events", WHO_KEY_TRACK, false, api_events},
    {METHOD_GET, TENANT "/check", WHO_KEY_CHECK, false, api_check_one},
    {METHOD_POST, TENANT "/check", WHO_KEY_CHECK, false, api_check_many},
    {METHOD_GET, TENANT "/current", WHO_KEY_READ, false, api_usage_current},
    {METHOD_GET, TENANT "/report", WHO_KEY_READ, false, api_report},
    {METHOD_GET, TENANT "/history", WHO_KEY_READ, false, api_history},
    {METHOD_POST, TENANT "/refresh", WHO_KEY_ADMIN, false, api_usage_refresh},
    {METHOD_GET, "/api/tenants", WHO_KEY_READ, false, api_tenants},
    {METHOD_GET, "/api/subscription/tenant/:id", WHO_KEY_READ, false, api_subscription_get},
    {METHOD_PUT, "/api/subscription/tenant/:id", WHO_KEY_OPERATOR, false, api_subscription_put},

    {METHOD_GET, "/sign-in", WHO_ANYONE, false, page_sign_in_form},
    {METHOD_POST, "/sign-in", WHO_ANYONE, true, page_sign_in},
    {METHOD_POST, "/sign-out", WHO_VIEWER, true, page_sign_out},
    {METHOD_GET, "/account", WHO_VIEWER, false, page_account_form},
    {METHOD_POST, "/account", WHO_VIEWER, true, page_account},
    {METHOD_GET, "/", WHO_VIEWER, false, page_start},
    {METHOD_GET, "/tenant/:id", WHO_VIEWER, false, page_overview},
    {METHOD_POST, "/tenant/:id/refresh", WHO_ADMIN, true, page_refresh},
    {METHOD_GET, "/tenants", WHO_OPERATOR, false, page_tenants},
    {METHOD_GET, "/status", WHO_OPERATOR, false, page_status},
};
const size_t n_routes = sizeof routes / sizeof routes[0];

const struct app_hooks app_hooks = {
    .identify = page_identify,
    .csrf = page_csrf,
    .error_page = page_error,
    .sign_in = page_to_sign_in,
};
