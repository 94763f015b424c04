-- The specification's six metrics and the limits that a plan may set.
INSERT INTO usage_metrics (metric_type, kind, unit, label, limit_key, limit_window, derived) VALUES
  ('patients_count', 'gauge', 'patients', 'Patients', 'max_patients', 'none', true),
  ('users_count', 'gauge', 'users', 'Users', 'max_users', 'none', true),
  ('storage_used_gb', 'gauge', 'GB', 'Storage', 'storage_gb', 'none', true),
  ('api_call', 'counter', 'calls', 'API calls', 'api_calls_per_day', 'day', false),
  ('file_upload', 'counter', 'files', 'File uploads', 'file_uploads_per_period', 'period', false),
  ('appointment_created', 'counter', 'appointments', 'Appointments', 'appointments_per_period', 'period', true);
INSERT INTO usage_limit_keys (limit_key, metric_type, limit_window, label) VALUES
  ('max_patients', 'patients_count', 'none', 'Patients'),
  ('max_users', 'users_count', 'none', 'Users'),
  ('storage_gb', 'storage_used_gb', 'none', 'Storage'),
  ('api_calls_per_day', 'api_call', 'day', 'API calls a day'),
  ('api_calls_per_minute', 'api_call', 'minute', 'API calls a minute'),
  ('file_uploads_per_period', 'file_upload', 'period', 'File uploads a period'),
  ('appointments_per_period', 'appointment_created', 'period', 'Appointments a period');
