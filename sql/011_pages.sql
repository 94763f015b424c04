-- A new password of whoever's session this is; all sessions of the account end with it.
CREATE FUNCTION tollgate.account_password(token_hash bytea, password_hash text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  account bigint := (SELECT s.account_id FROM account_sessions s WHERE s.token_hash = account_password.token_hash);
BEGIN
  UPDATE accounts SET password_hash = account_password.password_hash WHERE id = account;
  DELETE FROM account_sessions s WHERE s.account_id = account;
END $$;
REVOKE EXECUTE ON FUNCTION tollgate.account_password(bytea, text) FROM tollgate_collector, PUBLIC;
GRANT EXECUTE ON FUNCTION tollgate.account_password(bytea, text) TO tollgate_web;

-- The same password at another cost; the old hash has to stand there still, so that no newer password is undone.
CREATE FUNCTION tollgate.account_renew_hash(account bigint, old_hash text, new_hash text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
  $$ UPDATE accounts SET password_hash = new_hash WHERE id = account AND password_hash = old_hash $$;
REVOKE EXECUTE ON FUNCTION tollgate.account_renew_hash(bigint, text, text) FROM tollgate_collector, PUBLIC;
GRANT EXECUTE ON FUNCTION tollgate.account_renew_hash(bigint, text, text) TO tollgate_web;
