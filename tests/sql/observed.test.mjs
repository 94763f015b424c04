// Distinct values are counted exactly to 10,000, estimated beyond, in any order the same, and what is kept of them is bounded.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql, start, stop } from './lib.mjs';

before(start);
after(stop);

test('distinct values are exact to 10,000, near beyond, and the same as counted at once', () => {
  sql('own', `CREATE TEMP TABLE people AS SELECT n, tollgate.observed_hash('who', jsonb_build_object('who', 'person ' || n)) AS hash FROM generate_series(0, 29999) n;
    CREATE TABLE public.said (values_seen int, counted numeric, at_once numeric, kept bigint);
    DO $$
    DECLARE
      held numeric := 0;
      part bigint[];
    BEGIN
      FOR i IN 0..14 LOOP -- 2,000 more each time, and as many that were there before
        part := ARRAY(SELECT p.hash FROM people p WHERE p.n BETWEEN i * 2000 - 2000 AND i * 2000 + 1999);
        held := tollgate.distinct_add('a', 'people', 'who', 'day', '2026-11-25Z', '2026-11-25Z', '2026-11-26Z', held, part);
        INSERT INTO public.said SELECT (i + 1) * 2000, held, tollgate.distinct_of(ARRAY(SELECT p.hash FROM people p WHERE p.n < (i + 1) * 2000 ORDER BY 1)),
          (SELECT count(*) FROM tollgate.usage_distinct);
      END LOOP;
    END $$`, 'postgres');
  const rows = sql('own', 'SELECT values_seen, counted, at_once, kept FROM public.said ORDER BY 1').split('\n').map((line) => line.split('|').map(Number));
  assert.equal(rows.length, 15);
  for (const [seen, counted, atOnce, kept] of rows) {
    assert.equal(counted, atOnce);
    assert.ok(kept <= 10001);
    if (seen <= 10000) assert.equal(counted, seen);
    else assert.ok(Math.abs(counted / seen - 1) < 0.04, `${counted} for ${seen}`);
  }
});

test('a value that is no number, and a field that is not there, count for nothing', () => {
  assert.equal(sql('own', `SELECT tollgate.observed_value('size', 7, '{"size": 2.5}'), tollgate.observed_value(NULL, 7, '{"size": 2.5}'),
    tollgate.observed_value('size', 7, '{"size": "2"}') IS NULL, tollgate.observed_value('size', 7, '{}') IS NULL, tollgate.observed_value('size', 7, '{"size": -1}') IS NULL,
    tollgate.observed_hash('who', '{}') IS NULL, tollgate.observed_hash('who', '{"who": null}') IS NULL,
    tollgate.observed_hash('who', '{"who": "1"}') <> tollgate.observed_hash('who', '{"who": 1}')`), '2.500000|7|t|t|t|t|t|t');
});
