-- How far each segment is committed: POST /api/usage/events?wait=true looks. Positions only, nothing of a tenant.
GRANT SELECT ON collector_progress TO tollgate_web;
