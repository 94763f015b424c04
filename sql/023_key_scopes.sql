-- An operator's key is held to its scopes as well, and Prometheus gets one that may do nothing else: the scope metrics.
ALTER TABLE api_keys DROP CONSTRAINT api_keys_scopes_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_scopes_check
  CHECK (scopes <@ ARRAY['call', 'track', 'read', 'admin', 'metrics'] AND (tenant_id IS NULL OR NOT 'metrics' = ANY (scopes)));
-- Those that had every scope keep every one.
UPDATE api_keys SET scopes = scopes || ARRAY['metrics']
WHERE tenant_id IS NULL AND scopes @> ARRAY['call', 'track', 'read', 'admin'] AND NOT 'metrics' = ANY (scopes);
