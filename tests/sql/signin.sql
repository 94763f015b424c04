-- Failed sign-ins: what slows whom, and that the table does not grow with what is tried.
SET ROLE tollgate_owner;
DO $$
BEGIN
  FOR i IN 1..5 LOOP
    ASSERT tollgate.signin_try('ann', 'here') = 0, 'free tries';
  END LOOP;
  ASSERT tollgate.signin_try('ann', 'here') BETWEEN 1 AND 2, 'then the account waits';
  ASSERT tollgate.signin_try('bob', 'here') = 0, 'and no other account of that address';
END $$;
-- Names invented one after the other, from one address: a row for each that was looked at, none for those that had to wait.
DELETE FROM tollgate.signin_failures;
DO $$
DECLARE
  waited int := 0;
BEGIN
  FOR i IN 1..1000 LOOP
    IF tollgate.signin_try(sha256(('name ' || i)::bytea), 'guesser') > 0 THEN
      waited := waited + 1;
    END IF;
  END LOOP;
  ASSERT waited = 899, 'the address is slowed after a hundred: ' || waited;
  ASSERT (SELECT count(*) FROM tollgate.signin_failures) = 102, 'rows: ' || (SELECT count(*) FROM tollgate.signin_failures);
END $$;
-- A table that is full of harmless rows, and one count that slows somebody.
DELETE FROM tollgate.signin_failures;
INSERT INTO tollgate.signin_failures SELECT sha256(('old ' || i)::bytea), 1, now() - interval '1 hour' FROM generate_series(1, 19998) i;
INSERT INTO tollgate.signin_failures VALUES ('guesser', 110, now() - interval '3 hours'), ('bob', 9, now());
DO $$
BEGIN
  FOR i IN 1..250 LOOP
    ASSERT tollgate.signin_try(sha256(('new ' || i)::bytea), sha256(('from ' || i)::bytea)) = 0;
    ASSERT (SELECT count(*) FROM tollgate.signin_failures) <= 20000, 'the bound';
  END LOOP;
  ASSERT (SELECT count(*) FROM tollgate.signin_failures) > 19000, 'no more goes than has to';
  ASSERT (SELECT count(*) FROM tollgate.signin_failures WHERE subject IN ('guesser', 'bob')) = 2, 'what slows somebody stays';
  ASSERT (SELECT count(*) FROM tollgate.signin_failures WHERE subject = sha256('new 250')) = 1, 'the newest is there';
  ASSERT tollgate.signin_try('bob', 'anywhere') > 0;
END $$;
DELETE FROM tollgate.signin_failures;
