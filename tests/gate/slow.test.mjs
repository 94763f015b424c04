// Who connects to the gate and sends nothing, or little by little, holds a process for five seconds and no longer.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { callParams, fcgi, params, record } from '../lib/fcgi.mjs';
import { startGate } from '../lib/gate.mjs';
import { freePort, sleep } from '../lib/stack.mjs';

const begin = (flags) => { const b = Buffer.alloc(8); b.writeUInt16BE(2, 0); b[2] = flags; return record(1, b); };
const whole = (flags) => Buffer.concat([begin(flags), record(4, params(callParams('/api/x', 'alpha-key'))), record(4, Buffer.alloc(0))]);

// A gate of one process, on a Unix socket and on TCP.
async function withGate(t, body) {
  const port = await freePort(), gate = await startGate({ processes: 1, listen: `, 127.0.0.1:${port}` });
  t.after(() => gate.stop());
  for (const address of [gate.socket, { host: '127.0.0.1', port }]) await body(gate, address);
}
// A connection that sends `bytes` and stays; `ended` tells after how many milliseconds it was closed.
function hold(t, address, bytes) {
  const began = performance.now(), socket = typeof address === 'string' ? connect(address) : connect(address.port, address.host);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  let answer = '';
  socket.on('data', (b) => { answer += b.toString('latin1'); });
  const ended = new Promise((done) => socket.on('close', () => done(performance.now() - began)));
  socket.write(bytes);
  return { socket, ended, answer: () => answer };
}
async function seconds(promise) {
  const began = performance.now();
  await promise;
  return (performance.now() - began) / 1000;
}

for (const [what, bytes] of [['nothing', Buffer.alloc(0)], ['half of its parameters', whole(0).subarray(0, 60)]]) {
  test(`a connection that sends ${what} is closed, and the next call answered`, (t) => withGate(t, async (gate, address) => {
    const held = hold(t, address, bytes);
    await sleep(100);
    const waited = await seconds(fcgi(address, callParams('/api/x', 'alpha-key')).then((a) => assert.equal(a.status, 200)));
    assert.ok(waited < 8, `${waited} s`);
    assert.ok(await held.ended < 8000);
  }));
}

test('a byte now and then does not prolong it', (t) => withGate(t, async (gate, address) => {
  const held = hold(t, address, whole(0).subarray(0, 20));
  let at = 20;
  const drip = setInterval(() => held.socket.write(whole(0).subarray(at, ++at)), 1000);
  const waited = await held.ended;
  clearInterval(drip);
  assert.ok(waited < 8000, `${waited} ms`);
}));

test('a kept connection may be idle as long as nobody else waits, and not longer', (t) => withGate(t, async (gate, address) => {
  const kept = hold(t, address, whole(1));
  await sleep(6500);
  kept.socket.write(whole(1));
  await sleep(300);
  assert.equal(kept.answer().split('Status: 200').length - 1, 2, 'the second call on it');
  const waited = await seconds(fcgi(address, callParams('/api/x', 'alpha-key')).then((a) => assert.equal(a.status, 200)));
  assert.ok(waited < 8, `${waited} s`);
  await kept.ended;
}));

test('calls on a kept connection are all answered while others wait', (t) => withGate(t, async (gate, address) => {
  const kept = hold(t, address, whole(1));
  const other = fcgi(address, callParams('/api/x', 'alpha-key'));
  for (let i = 0; i < 10; i++) { await sleep(300); kept.socket.write(whole(1)); }
  await sleep(300);
  assert.equal(kept.answer().split('Status: 200').length - 1, 11);
  kept.socket.destroy();
  assert.equal((await other).status, 200);
}));
