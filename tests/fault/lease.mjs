// lease.mjs [ROUNDS]: three nodes of their own on one database draw on one tenant's limit at once. Without leases they pass it
// by what they admit until they hear of each other: the overshoot is printed. With limits.lease_percent exactly the limit
// passes: with a part of it while that part is more than the overshoot was, with all of it at any speed. When a node is
// killed in the middle never more passes, what it had leased does not.
import { join } from 'node:path';
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { fcgi, callParams } from '../lib/fcgi.mjs';
import { checks, path } from './books.mjs';
import { endNode, killNode, startNode } from './node.mjs';

const rounds = Number(process.argv[2] ?? 1);
const LIMIT = 1500;
const stack = await startStack({ server: 'lighttpd', env: { TOLLGATE_LIMITS_LEASE_PERCENT: '100' } });
const t = checks();

function newTenant(name) {
  stack.tollgate('tenant', 'create', name, '--name', 'Lease', '--tier', 'professional');
  stack.sql(`SELECT tollgate.set_subscription('${name}', NULL, '{"api_calls_per_day": ${LIMIT + 3}, "api_calls_per_minute": -1}'::jsonb) AS s`);
  return JSON.parse(stack.tollgate('key', 'create', 'lease', '--tenant', name, '--scopes', 'call', '--json')).key;
}

// Four callers a node until nothing passed for three seconds; a call that a kill cut off is in flight.
async function drawOn(nodes, key, pauseMs, after = null) {
  let admitted = 0, open = 0, sent = 0, last = Date.now();
  const caller = async (node) => {
    while (node.up && Date.now() - last < 3000) {
      try {
        const { status } = await fcgi(node.socket, callParams(path(sent++), key));
        if (status === 200) { admitted++; last = Date.now(); } else await sleep(5);
      } catch { open++; await sleep(10); }
      if (after && admitted >= after.calls) { const act = after.act; after = null; act(); }
      await sleep(pauseMs);
    }
  };
  await Promise.all(nodes.flatMap((node) => [1, 2, 3, 4].map(() => caller(node))));
  return { admitted, open };
}
const rows = (tenant) => Number(stack.sql(`SELECT count(*) AS n FROM usage_tracking WHERE tenant_id = '${tenant}'
  AND metric_type = 'api_call'`)[0].n);

async function round(name, percent, pauseMs, kill) {
  const tenant = `lease_${name}`, key = newTenant(tenant);
  const nodes = [];
  for (const n of ['a', 'b', 'c']) // each counts one call of this tenant to see that its gate knows the key
    nodes.push(await startNode(stack, `${name}-${n}`, key, { TOLLGATE_LIMITS_LEASE_PERCENT: String(percent) }));
  const seen = await drawOn(nodes, key, pauseMs, kill ? { calls: LIMIT * 0.9, act: () => killNode(nodes[0]) } : null);
  seen.admitted += nodes.length;
  if (kill) stack.tollgate('spool', 'ingest', join(nodes[0].dir, 'spool'));
  await eventually(() => rows(tenant) >= seen.admitted, () => `${seen.admitted} rows; there are ${rows(tenant)}`, 20);
  await sleep(1000);
  const stored = rows(tenant), over = stored - (LIMIT + 3);
  for (const node of nodes) if (node.up) await endNode(node);
  await sleep(7000); // until they count as gone
  console.log(`lease: ${name}: percent ${percent}, limit ${LIMIT + 3}, admitted ${seen.admitted}, rows ${stored}, over ${over}, in flight ${seen.open}`);
  return { ...seen, stored, over };
}

for (let i = 1; i <= rounds; i++) {
  const without = await round(`without${i}`, 0, 2, false);
  t.check(without.over >= 0 && without.stored === without.admitted, 'without leases nothing that the plan allows is refused', without.over);
  const part = await round(`part${i}`, 50, 30, false);
  t.check(part.over === 0 && part.stored === part.admitted, 'with half of it leased exactly the limit passes', part.over);
  const all = await round(`all${i}`, 100, 2, false);
  t.check(all.over === 0 && all.stored === all.admitted, 'with all of it leased exactly the limit passes at any speed', all.over);
  const killed = await round(`killed${i}`, 100, 2, true);
  t.check(killed.over <= 0 && killed.admitted <= killed.stored && killed.stored <= killed.admitted + killed.open,
    'with a node killed never more than the limit passes', killed.over);
}
await stack.stop();
t.end();
