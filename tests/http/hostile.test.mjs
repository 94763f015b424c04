// While others only connect, send slowly or sign in without an end, a check that comes on a new connection is answered.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { Visitor } from '../lib/people.mjs';
import { sleep } from '../lib/stack.mjs';

const { URL: base, PORT, TENANT_ID: tenant, TENANT_KEY: key } = process.env;
const open = [];
after(() => open.forEach((c) => c.destroy()));
const hold = (bytes) => new Promise((done, failed) => {
  const c = connect(Number(PORT), '127.0.0.1', () => { if (bytes) c.write(bytes); done(); });
  open.push(c);
  c.on('error', failed);
});
const slow = (path, type, more) => `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}Content-Type: ${type}\r\nContent-Length: 16000\r\n\r\n[`;

test('500 idle connections, 64 slow bodies and sixteen sign-ins hold up no check', async () => {
  await Promise.all([...Array(500)].map(() => hold()));
  await Promise.all([...Array(64)].map((_, i) => hold(i % 2 ? slow('/sign-in', 'application/x-www-form-urlencoded', '')
    : slow('/api/usage/events', 'application/json', `Authorization: Bearer ${key}\r\n`))));
  let signingIn = 16;
  for (let i = 0; i < 16; i++)
    new Visitor({ address: `127.0.4.${1 + i}` }).signIn({ email: `nobody-${i}@example.org`, password: 'not the right one' }).catch(() => {}).finally(() => { signingIn--; });
  await sleep(300);
  for (let i = 0; i < 5; i++) {
    const answer = await fetch(`${base}/api/usage/tenant/${tenant}/check?metric=api_call`,
      { headers: { authorization: `Bearer ${key}`, connection: 'close' }, signal: AbortSignal.timeout(15000) });
    assert.equal(answer.status, 200);
    await answer.text();
  }
  for (let i = 0; i < 1200 && signingIn > 0; i++) await sleep(100);
  assert.equal(signingIn, 0, 'sign-ins that were not answered within two minutes');
});
