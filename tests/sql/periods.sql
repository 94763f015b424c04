-- Days, periods: tables of cases.
DO $$
DECLARE
  c record;
  p record;
BEGIN
  SET LOCAL timezone = 'UTC';
  FOR c IN SELECT * FROM (VALUES
    ('a day that begins at 01:00: Sao Paulo', 'America/Sao_Paulo', date '2018-11-04', timestamptz '2018-11-04T03:00Z', interval '23 hours'),
    ('a day of 25 hours: Sao Paulo', 'America/Sao_Paulo', '2018-02-17', '2018-02-17T02:00Z', '25 hours'),
    ('a doubled midnight: Havana', 'America/Havana', '2025-11-02', '2025-11-02T04:00Z', '25 hours'),
    ('a missing midnight: Havana', 'America/Havana', '2025-03-09', '2025-03-09T05:00Z', '23 hours'),
    ('a day that never was: Samoa', 'Pacific/Apia', '2011-12-30', '2011-12-30T10:00Z', '0 hours'),
    ('the day after it: Samoa', 'Pacific/Apia', '2011-12-31', '2011-12-30T10:00Z', '24 hours'),
    ('half an hour: Lord Howe', 'Australia/Lord_Howe', '2026-04-05', '2026-04-04T13:00Z', '24.5 hours'),
    ('half an hour less: Lord Howe', 'Australia/Lord_Howe', '2026-10-04', '2026-10-03T13:30Z', '23.5 hours'),
    ('spring: Berlin', 'Europe/Berlin', '2026-03-29', '2026-03-28T23:00Z', '23 hours'),
    ('autumn: Berlin', 'Europe/Berlin', '2026-10-25', '2026-10-24T22:00Z', '25 hours'),
    ('an hour back at midnight: Beirut', 'Asia/Beirut', '2025-10-25', '2025-10-24T21:00Z', '25 hours'),
    ('UTC, a leap day', 'UTC', '2028-02-29', '2028-02-29T00:00Z', '24 hours')) v (what, zone, day, starts, long)
  LOOP
    ASSERT tollgate.day_start(c.day, c.zone) = c.starts, c.what || ': starts ' || tollgate.day_start(c.day, c.zone);
    ASSERT tollgate.day_start(c.day + 1, c.zone) - tollgate.day_start(c.day, c.zone) = c.long, c.what || ': its length';
  END LOOP;
  FOR c IN SELECT * FROM (VALUES
    ('the 31st in February', 'UTC', 31, timestamptz '2027-02-28T12:00Z', date '2027-02-28', date '2027-03-30'),
    ('the 31st before February''s end', 'UTC', 31, '2027-02-27T12:00Z', '2027-01-31', '2027-02-27'),
    ('the 30th goes back to the 30th', 'UTC', 30, '2027-03-30T00:00Z', '2027-03-30', '2027-04-29'),
    ('the 29th in a leap year', 'UTC', 29, '2028-02-29T00:00Z', '2028-02-29', '2028-03-28'),
    ('the 29th in another year', 'UTC', 29, '2027-03-01T00:00Z', '2027-02-28', '2027-03-28'),
    ('a year''s end', 'UTC', 15, '2027-01-03T00:00Z', '2026-12-15', '2027-01-14'),
    ('the zone''s day, not UTC''s', 'America/Sao_Paulo', 1, '2026-12-01T02:59:59Z', '2026-11-01', '2026-11-30'),
    ('the zone''s midnight', 'America/Sao_Paulo', 1, '2026-12-01T03:00Z', '2026-12-01', '2026-12-31'),
    ('ahead of UTC', 'Pacific/Auckland', 1, '2026-10-31T11:00Z', '2026-11-01', '2026-11-30')) v (what, zone, anchor, at, first, last)
  LOOP
    p := tollgate.period_of(c.zone, c.anchor, c.at);
    ASSERT p.period_start = c.first AND p.period_end = c.last, format('%s: %s to %s', c.what, p.period_start, p.period_end);
    ASSERT p.billing_period = to_char(c.first, 'YYYY-MM'), c.what;
    ASSERT p.starts_at <= c.at AND c.at < p.ends_at, c.what || ' holds its instant';
  END LOOP;
  -- Two years of hours in odd zones: each instant is in the day and the period that begin at or before it.
  FOR c IN SELECT z.zone, h.at FROM unnest(ARRAY['America/Havana', 'Australia/Lord_Howe', 'America/St_Johns', 'Africa/Cairo']) z (zone),
      generate_series(timestamptz '2026-01-01Z', '2026-12-31Z', '29 hours 7 minutes') h (at) LOOP
    ASSERT c.at >= tollgate.day_start(tollgate.day_of(c.at, c.zone), c.zone)
       AND c.at < tollgate.day_start(tollgate.day_of(c.at, c.zone) + 1, c.zone), c.zone || ' ' || c.at;
    p := tollgate.period_of(c.zone, 31, c.at);
    ASSERT p.starts_at <= c.at AND c.at < p.ends_at, c.zone || ' period ' || c.at;
  END LOOP;
END $$;

-- Periods are without a gap, and a changed anchor or zone acts from the next one.
SET ROLE tollgate_owner;
BEGIN;
INSERT INTO tenants (id, name) VALUES ('p', 'P');
INSERT INTO tollgate.tenant_settings (tenant_id, schema_name, time_zone, anchor_day) VALUES ('p', 'p', 'America/Sao_Paulo', 31);
COMMIT;
SELECT tollgate.ensure_periods('p', now() - interval '13 months', now() + interval '65 days');
CREATE TEMP TABLE before AS SELECT * FROM tollgate.tenant_periods WHERE tenant_id = 'p' AND starts_at <= now();
UPDATE tollgate.tenant_settings SET anchor_day = 10, time_zone = 'Asia/Tokyo' WHERE tenant_id = 'p';
SELECT tollgate.ensure_periods('p', now(), now() + interval '65 days');
DO $$
BEGIN
  ASSERT (SELECT count(*) FROM before) >= 13, 'thirteen months back';
  ASSERT NOT EXISTS (SELECT * FROM before EXCEPT SELECT * FROM tollgate.tenant_periods), 'what was stays';
  ASSERT NOT EXISTS (SELECT FROM (SELECT *, lead(starts_at) OVER w AS n, lead(period_start) OVER w AS d FROM tollgate.tenant_periods
    WHERE tenant_id = 'p' WINDOW w AS (ORDER BY starts_at)) x WHERE n <> ends_at OR d <> period_end + 1), 'no gap';
  ASSERT (SELECT extract(day FROM period_start) FROM tollgate.tenant_periods WHERE tenant_id = 'p' ORDER BY starts_at DESC LIMIT 1) = 10,
    'the new anchor';
  ASSERT (SELECT count(*) FROM usage_summary WHERE tenant_id = 'p') = (SELECT count(*) FROM before), 'a summary each';
  BEGIN
    UPDATE tollgate.tenant_settings SET time_zone = 'Mars/Olympus' WHERE tenant_id = 'p';
    ASSERT false, 'an unknown zone is refused';
  EXCEPTION WHEN SQLSTATE 'TG003' THEN NULL;
  END;
END $$;
