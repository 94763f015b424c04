// books.mjs: what every fault test does around its fault: a tenant without limits, events with ids, and sets compared.
import { eventually, sleep } from '../lib/stack.mjs';

// A tenant without a limit of calls, and a key of it that the gate knows already.
export async function unlimited(stack) {
  const [{ tenant_id: tenant }] = stack.sql(`SELECT tenant_id FROM tenant_subscriptions
    WHERE (usage_limits->>'api_calls_per_day')::numeric = -1 ORDER BY tenant_id`);
  const key = JSON.parse(stack.tollgate('key', 'create', 'fault', '--tenant', tenant, '--scopes', 'call,track', '--json')).key;
  await eventually(async () => (await fetch(`${stack.URL}/api/demo/warm`, { headers: { authorization: `Bearer ${key}` } })).status === 200,
    'the key to be known', 10);
  return { tenant, key };
}

// Posts events with ids, five at a time; each five again and again until they are acknowledged.
export function startPoster(stack, key, { pauseMs = 10, padding = '' } = {}) {
  const acknowledged = new Set();
  const others = {}; // other answers by status
  let posting = true, posted = 0, retryAfter = null;
  const once = async (ids) => {
    const r = await fetch(`${stack.URL}/api/usage/events`, { method: 'POST', signal: AbortSignal.timeout(20000),
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(ids.map((id) => ({ metric_type: 'file_upload', id, metadata: { test: id, padding } }))) });
    await r.text();
    if (r.status === 202) { ids.forEach((id) => acknowledged.add(id)); return true; }
    others[r.status] = (others[r.status] ?? 0) + 1;
    if (r.status === 503 && r.headers.get('retry-after')) retryAfter = r.headers.get('retry-after');
    return false;
  };
  const finished = (async () => {
    while (posting) {
      const ids = Array.from({ length: 5 }, () => `event-${posted++}`);
      for (;;) {
        try { if (await once(ids)) break; } catch { /* the server was killed: the same ids again */ }
        if (!posting) return;
        await sleep(30);
      }
      await sleep(pauseMs);
    }
  })();
  return { acknowledged, others, get posted() { return posted; }, get retryAfter() { return retryAfter; },
    async stop() { posting = false; await finished; } };
}

const storedCalls = (stack, tenant) => stack.sql(`SELECT substring(metadata->>'endpoint' FROM '[0-9]+$')::int AS n FROM usage_tracking
  WHERE tenant_id = '${tenant}' AND metadata->>'endpoint' LIKE '/api/demo/n/%'`).map((r) => r.n);
const storedEvents = (stack, tenant) => stack.sql(`SELECT metadata->>'test' AS id FROM usage_tracking WHERE tenant_id = '${tenant}'
  AND metric_type = 'file_upload' AND metadata ? 'test'`).map((r) => r.id);
const claimedIds = (stack, tenant) => stack.sql(`SELECT event_id AS id FROM tollgate.usage_event_ids WHERE tenant_id = '${tenant}'`).map((r) => r.id);

// Calls carry their number in this path.
export const path = (n) => `/api/demo/n/${n}`;

/*
 * Waits until all that was acknowledged is stored, then compares as sets and prints. calls: {answers, unanswered, sent}
 * of load.mjs; poster: startPoster's, or null. `counted`: calls that were admitted without a row of their own (degraded);
 * they are told from lost ones by the sums. Returns {lost, doubled, invented, …}.
 */
export async function compare(stack, tenant, calls, poster, { seconds = 60, degraded = 0 } = {}) {
  const admitted = [...calls.answers].filter(([, a]) => a.status >= 200 && a.status < 300).map(([n]) => n);
  const events = poster?.acknowledged ?? new Set();
  const all = () => ({ calls: storedCalls(stack, tenant), events: storedEvents(stack, tenant) });
  await eventually(() => {
    try {
      const s = all(), c = new Set(s.calls), e = new Set(s.events);
      return admitted.filter((n) => !c.has(n)).length <= degraded && [...events].every((id) => e.has(id));
    } catch { return false; } // PostgreSQL may still be recovering
  }, 'all that was acknowledged to be stored', seconds).catch((e) => console.log(e.message));
  await sleep(1500); // whatever would come twice has come
  const s = all(), set = new Set(s.calls), eventSet = new Set(s.events), ids = new Set(claimedIds(stack, tenant));
  const found = {
    lost: admitted.filter((n) => !set.has(n)).length,
    doubled: s.calls.length - set.size,
    // A server whose gate was killed answers 5xx, or breaks the connection: such a call may be recorded. A refused one never.
    invented: s.calls.filter((n) => !calls.unanswered.has(n) &&
      (!calls.answers.has(n) || (calls.answers.get(n).status >= 300 && calls.answers.get(n).status < 500))).length,
    lostEvents: [...events].filter((id) => !eventSet.has(id)).length,
    doubledEvents: s.events.length - eventSet.size,
    unclaimed: [...eventSet].filter((id) => !ids.has(id)).length + [...ids].filter((id) => !eventSet.has(id)).length,
    admitted: admitted.length, rows: set.size, refused: {},
  };
  for (const { status } of calls.answers.values()) if (status >= 300) found.refused[status] = (found.refused[status] ?? 0) + 1;
  console.log(`calls:  sent ${calls.sent} acknowledged ${admitted.length} stored ${set.size} lost ${found.lost} doubled ${found.doubled} ` +
    `invented ${found.invented}; in flight ${calls.unanswered.size} refused ${JSON.stringify(found.refused)}`);
  if (poster) console.log(`events: sent ${poster.posted} acknowledged ${events.size} stored ${eventSet.size} lost ${found.lostEvents} ` +
    `doubled ${found.doubledEvents}, ids apart from rows ${found.unclaimed}; refused ${JSON.stringify(poster.others)}`);
  return found;
}

// Checks, each with a sentence; end() prints the sum and ends the process.
export function checks() {
  let passed = 0, failed = 0;
  return {
    check(ok, sentence, detail = '') {
      if (ok) passed++; else failed++;
      console.log(`${ok ? 'ok' : 'NOT OK'}: ${sentence}${detail === '' ? '' : ` (${detail})`}`);
      return ok;
    },
    // What holds after every fault.
    exact(found, { degraded = 0 } = {}) {
      this.check(found.lost === degraded && found.lostEvents === 0, 'nothing that was acknowledged is lost', `${found.lost} calls, ${found.lostEvents} events`);
      this.check(found.doubled === 0 && found.doubledEvents === 0 && found.unclaimed === 0, 'nothing is stored twice');
      this.check(found.invented === 0, 'nothing is stored that was refused', found.invented);
    },
    // Of one tenant, or of all.
    books(stack, ...tenant) {
      let text;
      try { text = stack.tollgate('reconcile', ...tenant.flatMap((id) => ['--tenant', id]), '--json'); } catch (e) { text = e.stdout ?? String(e); }
      this.check(text.trim() === '[]', 'rollups, counts and summary say what the rows say', text.trim().slice(0, 300));
    },
    end() {
      console.log(`${passed} passed, ${failed} failed`);
      process.exit(failed ? 1 : 0);
    },
  };
}
