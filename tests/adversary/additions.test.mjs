// What an operator adds to a web server's configuration beside Tollgate's, before it and behind it: below a metered path no back end
// hears of a call without a key, in whatever spelling, and with one it hears what the gate says. Each addition is started with the
// real server, the generated configuration, the stack's own gate, and a back end that writes down every byte.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeFront, send, writingBackend } from '../lib/front.mjs';
import { additions } from './additions.mjs';

const { SERVER: server, TENANT_KEY: key, TENANT_ID: tenant, TOLLGATE: program } = process.env;
const backend = await writingBackend();
const front = makeFront({ server, program,
  edit: (conf) => conf.replace(/^\[backends\]$/m, `[backends]\n/api/configured = http://127.0.0.1:${backend.port}`) });
const orders = join(front.dir, 'htdocs/api/orders');

before(() => {
  mkdirSync(orders, { recursive: true });
  writeFileSync(join(front.dir, 'nothing.lua'), 'return 0\n');
  writeFileSync(join(orders, 'secret.txt'), 'a secret file');
  writeFileSync(join(orders, 'x.cgi'), '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; echo "a secret script"; env\n', { mode: 0o755 });
});
after(() => {
  backend.close();
  front.remove();
});

const spellings = (path) => {
  const rest = path.slice('/api'.length);
  return [path, `${path};%80`, `${path}?%80`, `${path}%c3`, `${path}%e0%80%af`, `${path}%ed%a0%80`, `${path}%f4%90%80%80`, `${path};\x80`, `${path}\xff\xfe`,
    `${path}%0a`, `${path}%00`, `/${path}`, `/.${path}`, `/x/..${path}`, `/%61pi${rest}`, `/api/.${rest}`, `/api/${rest}`, `/api%2f${rest.slice(1)}`,
    `http://127.0.0.1${path}`, `http://127.0.0.1?x${path}`, `${path}%80.php`, `${path}/x.php`, `/api/configured/x%80`, '/api', '/api/', '/api/%80'];
};
const forged = ['X-Tenant-ID: victim', 'X-Tollgate-Tier: forged', 'X-Tollgate-Gate: metered', 'Variable-TOLLGATE_GATE: metered', 'TOLLGATE_GATE: metered'];

// Apache takes away what Connection names, unless something keeps it from doing so.
const connection = 'Connection: X-Tenant-ID, X-Tollgate-Tier, X-Tollgate-Remaining, X-Forwarded-For';

for (const a of additions(server, front.dir)) {
  test(`${server}: ${a.name}`, async () => {
    const fill = (text) => text?.replaceAll('PORT', backend.port);
    const running = await front.start({ before: fill(a.before), behind: fill(a.behind), server: fill(a.server), http: fill(a.http) });
    try {
      backend.bytes = '';
      for (const target of [...spellings(a.path), ...(a.also ?? [])]) {
        if (a.everything && target.startsWith('http://127.0.0.1?')) continue; // nginx reads it as /
        for (const headers of [[], forged.slice(0, 2), forged, ['Authorization: Bearer nobody']]) {
          const answer = await send(running.port, target, headers);
          if (a.open) continue;
          assert.equal(backend.bytes, '', `${JSON.stringify(target)} ${headers} ${answer.split('\r\n')[0]}`);
          assert.ok(!answer.includes('a secret'), target);
        }
      }
      backend.bytes = '';
      const answer = await send(running.port, a.path, [`Authorization: Bearer ${key}`, connection, 'X-Forwarded-For: 192.0.2.7',
        ...(server === 'nginx' ? [] : forged.slice(1))]);
      const heard = a.file ? answer : backend.bytes;
      if (a.refused) {
        assert.equal(backend.bytes, '');
        assert.ok(!answer.includes('a secret'));
        assert.match(answer, /^HTTP\/1\.1 (404|503) /);
        return;
      }
      assert.ok(a.file ? heard.includes('a secret') : heard.length > 0, `${answer}\n${running.errors()}`);
      assert.ok(!heard.includes('forged') && !heard.includes('victim'), heard);
      if (a.silent) return;
      for (const told of [tenant, 'professional']) assert.ok(heard.includes(told), heard);
      assert.ok(!heard.includes('192.0.2.7'), heard);
    } finally {
      await running.stop();
    }
  });
}
