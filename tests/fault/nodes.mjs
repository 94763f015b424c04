// nodes.mjs [SECONDS]: three nodes of their own on one database, under load. One is killed for good with events in its
// spool; the spool is brought in by two `tollgate spool ingest` at once and by a third; then the node comes back. Each call
// that was answered must be in usage_tracking once, whichever node took it.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startStack, sleep } from '../lib/stack.mjs';
import { fcgi, callParams } from '../lib/fcgi.mjs';
import { checks, compare, path, unlimited } from './books.mjs';
import { endNode, killNode, startNode } from './node.mjs';

const seconds = Number(process.argv[2] ?? 6);
const stack = await startStack({ server: 'lighttpd' });
const { tenant, key } = await unlimited(stack);
const t = checks();
console.log(`nodes: three on one database, ${seconds} s`);

const calls = { answers: new Map(), unanswered: new Set(), sent: 0 };
let running = true;

// Four callers a node; a call that a kill cut off is in flight.
function callers(node) {
  return Array.from({ length: 4 }, async () => {
    while (running && node.up) {
      const n = calls.sent++;
      try {
        const { status } = await fcgi(node.socket, callParams(path(n), key));
        calls.answers.set(n, { status });
        node.admitted = (node.admitted ?? 0) + (status === 200);
      } catch { calls.unanswered.add(n); await sleep(10); }
      await sleep(2);
    }
  });
}
const ingest = (dir) => new Promise((done) => execFile('/bin/sh', ['-c', `exec ${stack.TOLLGATE} spool ingest ${dir} --json`],
  (error, out, err) => done({ code: error?.code ?? 0, ...(out ? JSON.parse(out) : {}), err })));

const nodes = [];
for (const name of ['a', 'b', 'c']) nodes.push(await startNode(stack, name, key));
const [a, b, c] = nodes;
const ids = new Set(nodes.map((n) => readFileSync(join(n.dir, 'spool/node'), 'utf8').split('\n')[0]));
t.check(ids.size === 3, 'each node has an id of its own');
const work = nodes.flatMap(callers);
await sleep(seconds * 500);
process.kill(a.pids[0], 'SIGSTOP'); // its collector falls behind, so that its spool holds something when it dies
await sleep(1500);
killNode(a);
await sleep(300);
const served = await ingest(join(b.dir, 'spool'));
t.check(served.code === 3, 'a spool whose collector is at work is left to it', served.err.trim());
const twice = await Promise.all([ingest(join(a.dir, 'spool')), ingest(join(a.dir, 'spool'))]);
const again = await ingest(join(a.dir, 'spool'));
const brought = twice[0].stored + twice[1].stored;
t.check(twice[0].code === 0 && twice[1].code === 0 && brought > 100, 'the dead node\'s events are brought in', `${brought} by two at once: ${twice[0].stored}, ${twice[1].stored}`);
t.check(again.code === 0 && again.stored === 0, 'again brings in nothing', JSON.stringify(again));
await sleep(seconds * 500);
const before = await compare(stack, tenant, calls, null, { seconds: 20 }).catch((e) => { console.log(e.message); return null; });
t.check(before?.doubled === 0 && before?.lost === 0, 'nothing is lost or doubled while the others go on');

const back = await startNode(stack, 'a', key);
work.push(...callers(back));
await sleep(seconds * 300);
running = false;
await Promise.all(work);
const found = await compare(stack, tenant, calls, null, { seconds: 30 });
t.exact(found);
t.books(stack, tenant);
t.check(back.admitted > 20, 'the node that came back takes calls again', back.admitted);
for (const n of [b, c, back]) await endNode(n);
await stack.stop();
t.end();
