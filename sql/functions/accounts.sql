-- People who sign in: their accounts, sessions and failed tries. Web reaches these tables through functions alone.

CREATE OR REPLACE FUNCTION tollgate.account_by_email(email text) RETURNS TABLE (id bigint, tenant_id text, role text, password_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.id, a.tenant_id, a.role, a.password_hash FROM tollgate.accounts a WHERE a.email = lower(account_by_email.email)
$$;
GRANT EXECUTE ON FUNCTION tollgate.account_by_email(text) TO tollgate_web;

-- A new password of whoever's session this is; all sessions of the account end with it.
CREATE OR REPLACE FUNCTION tollgate.account_password(token_hash bytea, password_hash text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  account bigint := (SELECT s.account_id FROM tollgate.account_sessions s WHERE s.token_hash = account_password.token_hash);
BEGIN
  UPDATE tollgate.accounts SET password_hash = account_password.password_hash WHERE id = account;
  DELETE FROM tollgate.account_sessions s WHERE s.account_id = account;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.account_password(bytea, text) TO tollgate_web;

-- The same password at another cost; the old hash has to stand there still, so that no newer password is undone.
CREATE OR REPLACE FUNCTION tollgate.account_renew_hash(account bigint, old_hash text, new_hash text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ UPDATE tollgate.accounts SET password_hash = new_hash WHERE id = account AND password_hash = old_hash $$;
GRANT EXECUTE ON FUNCTION tollgate.account_renew_hash(bigint, text, text) TO tollgate_web;

CREATE OR REPLACE FUNCTION tollgate.session_open(token_hash bytea, account bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tollgate.account_sessions (token_hash, account_id) VALUES (session_open.token_hash, account);
  UPDATE tollgate.accounts SET signed_in_at = now() WHERE id = account;
$$;
GRANT EXECUTE ON FUNCTION tollgate.session_open(bytea, bigint) TO tollgate_web;

-- seen_at is touched at most once a minute; an expired session is deleted and not found.
CREATE OR REPLACE FUNCTION tollgate.session_find(token_hash bytea, idle_s int, absolute_s int)
RETURNS TABLE (account_id bigint, email text, role text, tenant_id text, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hash bytea := session_find.token_hash;
  s tollgate.account_sessions;
BEGIN
  SELECT * INTO s FROM tollgate.account_sessions x WHERE x.token_hash = hash;
  IF NOT FOUND THEN
    RETURN;
  ELSIF s.seen_at < now() - make_interval(secs => idle_s) OR s.created_at < now() - make_interval(secs => absolute_s) THEN
    DELETE FROM tollgate.account_sessions x WHERE x.token_hash = hash;
    RETURN;
  ELSIF s.seen_at < now() - interval '1 minute' THEN
    UPDATE tollgate.account_sessions x SET seen_at = now() WHERE x.token_hash = hash;
  END IF;
  RETURN QUERY SELECT a.id, a.email, a.role, a.tenant_id::text, s.created_at FROM tollgate.accounts a WHERE a.id = s.account_id;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.session_find(bytea, int, int) TO tollgate_web;

CREATE OR REPLACE FUNCTION tollgate.session_close(token_hash bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ DELETE FROM tollgate.account_sessions s WHERE s.token_hash = session_close.token_hash $$;
GRANT EXECUTE ON FUNCTION tollgate.session_close(bytea) TO tollgate_web;

-- Failed sign-ins are bounded in rows, whatever is tried: an address that has to wait adds no row for the account that it tries, and
-- of a full table the rows that slow nobody go first. An address is an IPv4 address or an IPv6 network (/64) since this file.
CREATE OR REPLACE FUNCTION tollgate.signin_try(account bytea, address bytea) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most CONSTANT int := 20000;
  tried record;
  wait int;
  f tollgate.signin_failures;
BEGIN
  IF (SELECT count(*) FROM tollgate.signin_failures s WHERE s.subject IN (account, address)) < 2
    AND (SELECT count(*) FROM (SELECT FROM tollgate.signin_failures LIMIT most) s) > most - 2 THEN
    DELETE FROM tollgate.signin_failures WHERE subject IN (SELECT s.subject FROM tollgate.signin_failures s
      WHERE s.subject NOT IN (account, address) ORDER BY s.failures, s.failed_at LIMIT 100 FOR UPDATE SKIP LOCKED);
  END IF;
  FOR tried IN SELECT * FROM (VALUES (1, address, 100), (2, account, 4)) AS v (n, subject, free) ORDER BY n LOOP
    INSERT INTO tollgate.signin_failures AS x (subject, failures, failed_at) VALUES (tried.subject, 0, now())
    ON CONFLICT (subject) DO UPDATE SET failures = CASE WHEN x.failed_at < now() - interval '1 day' THEN 0 ELSE x.failures END
    RETURNING * INTO f;
    wait := CASE WHEN f.failures > tried.free THEN ceil(extract(epoch FROM f.failed_at - clock_timestamp())
                                                        + least(900, power(2, least(f.failures - tried.free, 20))))::int ELSE 0 END;
    IF wait > 0 THEN
      RETURN wait;
    END IF;
  END LOOP;
  UPDATE tollgate.signin_failures SET failures = least(failures + 1, 1000), failed_at = clock_timestamp()
  WHERE subject IN (account, address);
  RETURN 0;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.signin_try(bytea, bytea) TO tollgate_web;

-- It was the right password: the account's count ends, the address gets its try back.
CREATE OR REPLACE FUNCTION tollgate.signin_ok(account bytea, address bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM tollgate.signin_failures WHERE subject = account;
  UPDATE tollgate.signin_failures SET failures = greatest(failures - 1, 0) WHERE subject = address;
$$;
GRANT EXECUTE ON FUNCTION tollgate.signin_ok(bytea, bytea) TO tollgate_web;
