// tollgate doctor calls the web server without a key, and says when somebody answers.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeFront } from '../lib/front.mjs';

const { SERVER: server, TOLLGATE: program, URL: url } = process.env;
const front = makeFront({ server, program });
after(() => front.remove());

// The lines of one part.
const doctor = (at, part) => new Promise((done) => {
  execFile('/bin/sh', ['-c', `exec ${program} --json doctor --at ${at}`], (_, out) => done(JSON.parse(out).filter((l) => l.part === part)));
});

test('the running server refuses a call without a key in every spelling, and doctor says so', async () => {
  const lines = await doctor(url, 'doors');
  assert.deepEqual(lines.map((l) => l.state), ['ok'], JSON.stringify(lines));
  assert.match(lines[0].text, /in \d+ spellings: all refused/);
});

test('a server that lets calls pass the gate by is told, with the path that shows it', async () => {
  const open = createServer((q, r) => { r.statusCode = 200; r.end('served'); });
  await new Promise((done) => open.listen(0, '127.0.0.1', done));
  const lines = await doctor(`http://127.0.0.1:${open.address().port}`, 'doors');
  open.close();
  assert.ok(lines.length > 0 && lines.every((l) => l.state === 'wrong'), JSON.stringify(lines));
  assert.match(lines[0].text, /^\/api gets 200 without a key: it bypasses the gate/);
});

test('one that answers odd bytes alone is told, too', async () => {
  const open = createServer((q, r) => { r.statusCode = q.url === '/healthz' || q.url.includes('%80') ? 200 : 401; r.end(); });
  await new Promise((done) => open.listen(0, '127.0.0.1', done));
  const lines = await doctor(`http://127.0.0.1:${open.address().port}`, 'doors');
  open.close();
  assert.match(lines[0].text, /^\/api\/tollgate-doctor;%80 gets 200 without a key/);
});

test('a configuration in which something takes the gate\'s place is told', async (t) => {
  if (server === 'nginx') return t.skip('there an operator can only turn the gate off');
  const addition = server === 'lighttpd' ? `$HTTP["url"] =^ "/api" { magnet.attract-raw-url-to = ( "${front.dir}/nothing.lua" ) }`
    : '<Location "/api">\nRequire all granted\n</Location>';
  writeFileSync(join(front.dir, 'nothing.lua'), 'return 0\n');
  const running = await front.start({ behind: addition });
  const lines = await doctor(`http://127.0.0.1:${running.port}`, 'doors');
  await running.stop();
  assert.equal(lines[0].state, 'wrong');
  assert.match(lines[0].text, /gets 503 without a key/);
});
