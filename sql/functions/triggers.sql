-- The triggers on the host's four tables and on Tollgate's own; those on tenants' tables are tollgate.attach's. Each is written as
-- PostgreSQL shows it, so that one which is there already is left alone: making it anew would hold up whoever writes to the table.
-- Triggers of a table run in the order of their names: what an override does to an enforced gauge comes behind what it does to limits.
DO $$
DECLARE
  t record;
  wanted text;
BEGIN
  FOR t IN SELECT * FROM (VALUES
    ('public.tenants', 'tollgate_config', 'INSERT OR DELETE', 'config_changed(''tenant'', ''id'')'),
    ('public.subscription_tiers', 'tollgate_limits', 'UPDATE OF limits', 'limits_changed()'),
    ('public.tenant_subscriptions', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF tier_id, usage_limits',
     'config_changed(''tenant'', ''tenant_id'')'),
    ('public.tenant_subscriptions', 'tollgate_limits', 'INSERT OR UPDATE OF tier_id, usage_limits', 'subscription_changed()'),
    ('public.tenant_subscriptions', 'tollgate_enforced', 'INSERT OR DELETE OR UPDATE OF usage_limits', 'enforced_limits_changed()'),
    ('tollgate.tenant_settings', 'settings_changed', 'INSERT OR UPDATE OF time_zone, anchor_day', 'settings_changed()'),
    ('tollgate.tenant_settings', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF time_zone, anchor_day, state',
     'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.usage_limit_overrides', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.usage_limit_overrides', 'tollgate_limits', 'INSERT OR DELETE OR UPDATE', 'limits_changed()'),
    ('tollgate.usage_limit_overrides', 'tollgate_refused', 'INSERT OR DELETE OR UPDATE', 'enforced_limits_changed()'),
    ('tollgate.api_keys', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF tenant_id, hash, scopes, expires_at, revoked_at',
     'config_changed(''key'')'),
    ('tollgate.usage_metrics', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''catalogue'')'),
    ('tollgate.usage_limit_keys', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''catalogue'')'))
    AS x (tab, name, events, call) LOOP
    wanted := format('TRIGGER %s AFTER %s ON %s FOR EACH ROW %sEXECUTE FUNCTION tollgate.%s', t.name, t.events, t.tab,
      CASE t.call WHEN 'subscription_changed()' THEN 'WHEN ((CURRENT_USER <> ''tollgate_counter''::name)) ' ELSE '' END, t.call);
    IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.tab::regclass AND g.tgname = t.name
                   AND pg_get_triggerdef(g.oid) = 'CREATE ' || wanted) THEN
      EXECUTE 'CREATE OR REPLACE ' || wanted;
    END IF;
  END LOOP;
  -- A constraint trigger can't be replaced.
  IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'public.tenants'::regclass AND g.tgname = 'tollgate_new') THEN
    CREATE CONSTRAINT TRIGGER tollgate_new AFTER INSERT ON public.tenants DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION tollgate.tenant_added();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'public.users'::regclass AND g.tgname = 'tollgate_insert'
                 AND g.tgfoid = to_regproc('tollgate.users_added')) THEN
    PERFORM tollgate.add_triggers('public.users', 'users_added', 'users_changed', true, '');
  END IF;
END $$;
