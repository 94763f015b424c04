-- The preset clinic, run once by `tollgate migrate`: patients, users and appointments, as the specification counts them.
INSERT INTO tollgate.usage_metrics (metric_type, kind, aggregation, unit, plural, decimals, label, limit_key, limit_window, derived) VALUES
  ('patients_count', 'gauge', 'level', 'patients', 'patients', 0, 'Patients', 'max_patients', 'none', true),
  ('users_count', 'gauge', 'level', 'users', 'users', 0, 'Users', 'max_users', 'none', true),
  ('appointments_count', 'gauge', 'level', 'appointments', 'appointments', 0, 'Appointments kept', NULL, 'none', true),
  ('appointment_created', 'counter', 'sum', 'appointments', 'appointments', 0, 'Appointments', 'appointments_per_period', 'period', true)
ON CONFLICT DO NOTHING;
INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label) VALUES
  ('max_patients', 'patients_count', 'none', 'Patients'),
  ('max_users', 'users_count', 'none', 'Users'),
  ('appointments_per_period', 'appointment_created', 'period', 'Appointments a period')
ON CONFLICT DO NOTHING;
INSERT INTO tollgate.usage_sources (metric_type, schema_name, table_name, tenant_column, columns, condition, records) VALUES
  ('patients_count', '{schema}', 'patients', NULL, '{"status": "text"}', 'rtrim(status) = ''active''', NULL),
  ('users_count', 'public', 'users', 'tenant_id', '{}', '', NULL),
  ('appointments_count', '{schema}', 'appointments', NULL, '{}', '', 'appointment_created')
ON CONFLICT DO NOTHING;
