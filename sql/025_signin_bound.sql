-- Failed sign-ins are bounded in rows, whatever is tried: an address that has to wait adds no row for the account that it tries, and
-- of a full table the rows that slow nobody go first. An address is an IPv4 address or an IPv6 network (/64) since this file.
CREATE OR REPLACE FUNCTION tollgate.signin_try(account bytea, address bytea) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most CONSTANT int := 20000;
  tried record;
  wait int;
  f public.signin_failures;
BEGIN
  IF (SELECT count(*) FROM public.signin_failures s WHERE s.subject IN (account, address)) < 2
    AND (SELECT count(*) FROM (SELECT FROM public.signin_failures LIMIT most) s) > most - 2 THEN
    DELETE FROM public.signin_failures WHERE subject IN (SELECT s.subject FROM public.signin_failures s
      WHERE s.subject NOT IN (account, address) ORDER BY s.failures, s.failed_at LIMIT 100 FOR UPDATE SKIP LOCKED);
  END IF;
  FOR tried IN SELECT * FROM (VALUES (1, address, 100), (2, account, 4)) AS v (n, subject, free) ORDER BY n LOOP
    INSERT INTO public.signin_failures AS x (subject, failures, failed_at) VALUES (tried.subject, 0, now())
    ON CONFLICT (subject) DO UPDATE SET failures = CASE WHEN x.failed_at < now() - interval '1 day' THEN 0 ELSE x.failures END
    RETURNING * INTO f;
    wait := CASE WHEN f.failures > tried.free THEN ceil(extract(epoch FROM f.failed_at - clock_timestamp())
                                                        + least(900, power(2, least(f.failures - tried.free, 20))))::int ELSE 0 END;
    IF wait > 0 THEN
      RETURN wait;
    END IF;
  END LOOP;
  UPDATE public.signin_failures SET failures = least(failures + 1, 1000), failed_at = clock_timestamp()
  WHERE subject IN (account, address);
  RETURN 0;
END $$;
