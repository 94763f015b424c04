-- The collector removes rows in slices that it names by ctid (lib/store/retention.c).
GRANT SELECT (ctid) ON public.account_sessions, public.signin_failures TO tollgate_collector;
DROP FUNCTION tollgate.prune_node_samples();
