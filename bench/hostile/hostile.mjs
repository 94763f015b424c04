// hostile.mjs SECONDS ROUNDS: how fast a check is answered while others sign in, send slowly and only connect, beside how fast it is
// while one core is kept busy. In the environment of tests/lib/with_stack.mjs.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { request } from 'node:http';
import { Visitor } from '../../tests/lib/people.mjs';

const [seconds, rounds] = process.argv.slice(2).map(Number);
const { TENANT_KEY: key, TENANT_ID: tenant, PORT, SERVER } = process.env, port = Number(PORT);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

// Over a connection of its own: one that is kept would not notice that the server takes no others.
function check() {
  const began = performance.now();
  return new Promise((done, failed) => {
    request({ host: '127.0.0.1', port, agent: false, path: `/api/usage/tenant/${tenant}/check?metric=api_call`, headers: { authorization: `Bearer ${key}` } }, (answer) => {
      answer.resume();
      answer.on('end', () => (answer.statusCode === 200 ? done(performance.now() - began) : failed(new Error(`a check was answered with ${answer.statusCode}`))));
    }).on('error', failed).setTimeout(20000, function () { this.destroy(new Error('a check was not answered in 20 s')); }).end();
  });
}
// A check every 10 ms: the figure is how long one takes, not how many fit.
async function measure() {
  const times = [], until = Date.now() + seconds * 1000;
  while (Date.now() < until) { times.push(await check()); await sleep(10); }
  return median(times);
}

// What is held open, each again when the server ends it, until stop().
function attack() {
  let on = true;
  const open = new Set(), seen = { signIns: 0, slow: 0, idle: 0 };
  const hold = (what, first, drip) => {
    if (!on) return;
    const c = connect(port, '127.0.0.1', () => { seen[what]++; if (first) c.write(first); });
    const more = drip && setInterval(() => c.write(drip), 500);
    open.add(c);
    c.on('error', () => {});
    c.on('data', () => {});
    c.on('close', () => { clearInterval(more); open.delete(c); setTimeout(hold, 100, what, first, drip); });
  };
  for (let i = 0; i < 500; i++) hold('idle');
  for (let i = 0; i < 64; i++) {
    hold('slow', i % 2
      ? `POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16000\r\n\r\nemail=`
      : `POST /api/usage/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n[`, ' ');
  }
  // From addresses of their own, so that no count of failures stops them; a quick refusal (503, 429) is followed by a pause.
  const people = [...Array(64)].map(async (_, i) => {
    const visitor = new Visitor({ address: `127.0.${1 + (i >> 4)}.${1 + i}` });
    while (on) {
      const began = Date.now();
      await visitor.signIn({ email: `nobody-${i}@example.org`, password: 'not the right one' }).then(() => { seen.signIns++; }, () => {});
      await sleep(Math.max(0, 250 - (Date.now() - began)));
    }
  });
  return { seen, open: () => open.size, async stop() { on = false; for (const c of open) c.destroy(); await Promise.race([Promise.all(people), sleep(15000)]); } };
}

for (let i = 0; i < 50; i++) await check();
const results = [];
for (let round = 0; round < rounds; round++) {
  const quiet = await measure();
  const spinner = spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
  await sleep(200);
  const busy = await measure();
  spinner.kill('SIGKILL');
  const hostile = attack();
  await sleep(2000);
  const attacked = await measure(), { signIns } = hostile.seen, held = hostile.open();
  await hostile.stop();
  if (held < 500) throw new Error(`only ${held} connections were open`);
  results.push({ quiet, busy, attacked, ratio: attacked / busy });
  console.log(`${SERVER}, round ${round + 1}: quiet ${quiet.toFixed(1)} ms, one core busy ${busy.toFixed(1)} ms, attacked ${attacked.toFixed(1)} ms; ${held} connections held, ${signIns} sign-ins answered`);
}
results.sort((a, b) => a.ratio - b.ratio);
const { busy, attacked, ratio } = results[results.length >> 1];
console.log(`check under attack, ${SERVER}: median ${attacked.toFixed(1)} ms (baseline one busy core ${busy.toFixed(1)} ms) ratio ${ratio.toFixed(2)}`);
process.exit();
