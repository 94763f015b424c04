// Behind proxies that tollgate.conf trusts, the back end hears of the client that they name; nobody else is believed.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { makeFront, send, writingBackend } from '../lib/front.mjs';

const { SERVER: server, TENANT_KEY: key, TOLLGATE: program } = process.env;
const backend = await writingBackend();
const trusting = (list) => makeFront({ server, program, edit: (conf) => conf
  .replace(/^\[web\]$/m, `[web]\ntrusted_proxies = ${list}`).replace(/^\[backends\]$/m, `[backends]\n/api/configured = http://127.0.0.1:${backend.port}`) });
after(() => backend.close());

// The headers that arrive at the back end, in lower case.
async function heard(front, headers) {
  const running = await front.start();
  backend.bytes = '';
  const answer = await send(running.port, '/api/configured/17', [`Authorization: Bearer ${key}`, ...headers]);
  await running.stop();
  front.remove();
  assert.match(answer, /served$/, answer);
  return backend.bytes.toLowerCase().split('\r\n');
}
const sent = ['X-Forwarded-For: 198.51.100.1, 192.0.2.7', 'X-Forwarded-Proto: https'];

for (const list of ['127.0.0.1', '10.0.0.0/8, 127.0.0.0/8, 2001:db8::/32']) {
  test(`${server}: the client that a trusted proxy names (${list})`, async () => {
    const got = await heard(trusting(list), sent);
    assert.ok(got.includes('x-forwarded-for: 192.0.2.7'), got.join('\n'));
    assert.ok(got.includes('x-forwarded-proto: https'), got.join('\n'));
    assert.ok(!got.join().includes('198.51.100.1'), got.join('\n'));
  });
}

test(`${server}: a proxy that is not trusted is a client like any other`, async () => {
  const got = await heard(trusting('10.0.0.1, 10.1.0.0/16'), sent);
  assert.ok(got.includes('x-forwarded-for: 127.0.0.1'), got.join('\n'));
  assert.ok(got.includes('x-forwarded-proto: http'), got.join('\n'));
});
