-- The triggers on the host's tables, and all its rows, as they are, when these come: before tollgate.tenants has triggers of its own, which
-- would do their work once a row. What the subscriptions' numbers mean is found out afterwards, a tenant at a time (keep_found_limits).
DO $$
DECLARE
  w record;
  m jsonb := (SELECT h.mapping FROM tollgate.host h);
  new boolean := false;
BEGIN
  IF NOT tollgate.is_clinic() THEN
    new := tollgate.want_trigger((m ->> 'table')::regclass, 'tollgate_copy', format(
      'INSERT OR DELETE OR UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION tollgate.host_changed(''mapped'', %L)',
      (SELECT string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum) FROM pg_attribute c WHERE c.attrelid = (m ->> 'table')::regclass
       AND c.attname IN (m ->> 'id', m ->> 'name', m ->> 'plan', m ->> 'state', m ->> 'schema')), m ->> 'table', m ->> 'id'));
    PERFORM tollgate.want_trigger((m ->> 'table')::regclass, 'tollgate_copy_all', format(
      'TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION tollgate.host_changed(''mapped'', %L)', m ->> 'table', m ->> 'id'));
    PERFORM tollgate.take_all_mapped('true') WHERE new;
    RETURN;
  END IF;
  FOR w IN SELECT * FROM (VALUES
    ('public.subscription_tiers', 'INSERT OR DELETE OR UPDATE OF id, name, limits', '', '''tiers'', ''id'''),
    ('public.tenants', 'INSERT OR DELETE OR UPDATE OF id, name', '', '''tenants'', ''id'''),
    -- Tollgate's own writes are tollgate_counter's, and make no override of what they worked out.
    ('public.tenant_subscriptions', 'INSERT OR DELETE OR UPDATE OF tenant_id, tier_id, usage_limits',
     'WHEN ((CURRENT_USER <> ''tollgate_counter''::name)) ', '''subscriptions'', ''tenant_id''')) AS x (tab, events, condition, args) LOOP
    new := tollgate.want_trigger(w.tab::regclass, 'tollgate_copy', format('%s ON %s FOR EACH ROW %sEXECUTE FUNCTION tollgate.host_changed(%s)',
                                                                         w.events, w.tab, w.condition, w.args)) OR new;
    PERFORM tollgate.want_trigger(w.tab::regclass, 'tollgate_copy_all', format('TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION tollgate.host_changed(%s)',
                                                                               w.tab, w.args));
  END LOOP;
  IF NOT new THEN
    RETURN;
  END IF;
  PERFORM tollgate.copy_tiers();
  INSERT INTO tollgate.tenants (id, name) SELECT tollgate.plain(t.id), coalesce(tollgate.plain(t.name), tollgate.plain(t.id))
  FROM public.tenants t ON CONFLICT DO NOTHING;
  INSERT INTO tollgate.subscriptions (tenant_id, tier_id, usage_limits, current_usage)
  SELECT x.id, tollgate.plain(s.tier_id), coalesce(tollgate.plain(s.usage_limits)::jsonb, '{}'), coalesce(tollgate.plain(s.current_usage)::jsonb, '{}')
  FROM public.tenant_subscriptions s JOIN tollgate.tenants x ON x.id = s.tenant_id ON CONFLICT DO NOTHING;
END $$;

-- The triggers on Tollgate's own tables and on the host's users; those on tenants' tables are tollgate.attach's. Triggers of a table run in
-- the order of their names: what an override does to an enforced gauge comes behind what it does to limits.
DO $$
DECLARE
  t record;
  s tollgate.usage_sources;
BEGIN
  FOR t IN SELECT * FROM (VALUES
    ('tollgate.tenants', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF id', 'config_changed(''tenant'', ''id'')'),
    ('tollgate.tiers', 'tollgate_limits', 'UPDATE OF limits', 'limits_changed()'),
    ('tollgate.subscriptions', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF tier_id, usage_limits',
     'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.subscriptions', 'tollgate_refused', 'INSERT OR DELETE OR UPDATE OF usage_limits', 'enforced_limits_changed()'),
    ('tollgate.tenant_settings', 'settings_changed', 'INSERT OR UPDATE OF time_zone, anchor_day', 'settings_changed()'),
    ('tollgate.tenant_settings', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF time_zone, anchor_day, state',
     'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.usage_limit_overrides', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.usage_limit_overrides', 'tollgate_limits', 'INSERT OR DELETE OR UPDATE', 'limits_changed()'),
    ('tollgate.usage_limit_overrides', 'tollgate_refused', 'INSERT OR DELETE OR UPDATE', 'enforced_limits_changed()'),
    ('tollgate.tier_limit_modes', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'tier_mode_changed()'),
    ('tollgate.usage_credits', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF amount', 'config_changed(''tenant'', ''tenant_id'')'),
    ('tollgate.usage_credits', 'tollgate_refused', 'INSERT OR DELETE OR UPDATE OF amount', 'enforced_limits_changed()'),
    ('tollgate.key_limits', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'key_limits_changed()'),
    ('tollgate.api_keys', 'tollgate_config', 'INSERT OR DELETE OR UPDATE OF tenant_id, hash, scopes, expires_at, revoked_at',
     'config_changed(''key'')'),
    ('tollgate.usage_metrics', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''catalogue'')'),
    ('tollgate.usage_limit_keys', 'tollgate_config', 'INSERT OR DELETE OR UPDATE', 'config_changed(''catalogue'')'),
    ('tollgate.usage_limit_keys', 'tollgate_counts', 'INSERT', 'limit_added()'))
    AS x (tab, name, events, call) LOOP
    PERFORM tollgate.want_trigger(t.tab::regclass, t.name, format('%s ON %s FOR EACH ROW EXECUTE FUNCTION tollgate.%s', t.events, t.tab, t.call));
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'tollgate.usage_metrics'::regclass AND g.tgname = 'tollgate_shape') THEN
    CREATE TRIGGER tollgate_shape BEFORE INSERT OR UPDATE ON tollgate.usage_metrics FOR EACH ROW EXECUTE FUNCTION tollgate.metric_shape();
  END IF;
  -- A constraint trigger can't be replaced.
  IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = 'tollgate.tenants'::regclass AND g.tgname = 'tollgate_new') THEN
    CREATE CONSTRAINT TRIGGER tollgate_new AFTER INSERT ON tollgate.tenants DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION tollgate.tenant_added();
  END IF;
  -- Sources: their functions anew, and the triggers that are missing. A table that is out of reach is left to the collector.
  FOR s IN SELECT * FROM tollgate.usage_sources ORDER BY id LOOP
    PERFORM tollgate.generate(s);
  END LOOP;
  FOR t IN SELECT DISTINCT ON (x.tenant_id, x.source) x.tenant_id, x.tab, x.source FROM tollgate.source_tables() x WHERE x.kind IN ('r', 'p')
    AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = x.tab AND g.tgname = format('tollgate_%s_insert', x.source)) LOOP
    BEGIN
      IF t.tenant_id = '' THEN
        PERFORM tollgate.attach_shared(x) FROM tollgate.usage_sources x WHERE x.id = t.source;
      ELSE
        PERFORM tollgate.attach(t.tenant_id);
      END IF;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE '% is out of reach: %', t.tab, sqlerrm;
    END;
  END LOOP;
END $$;
