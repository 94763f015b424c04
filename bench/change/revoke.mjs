// revoke.mjs GATE_SOCKET KEYS: revokes each key of the file in turn and asks the gate until it refuses it.
import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { fcgi, callParams } from '../../tests/lib/fcgi.mjs';

const [socket, file] = process.argv.slice(2);
const keys = readFileSync(file, 'utf8').match(/tg_[a-z2-7]{8}_[\w-]{43}/g);
const status = async (key) => (await fcgi(socket, callParams('/api/patients', key))).status;
const times = [];
for (const key of keys) {
  if (await status(key) !== 200) throw new Error('a valid key is refused');
  execFileSync('psql', ['-qX', '-c', `UPDATE tollgate.api_keys SET revoked_at = now() WHERE id = '${key.slice(3, 11)}'`]);
  const began = performance.now();
  while (await status(key) === 200) {
    if (performance.now() - began > 10000) throw new Error('a revoked key still opens the gate after 10 s');
    await new Promise((done) => setTimeout(done, 5));
  }
  times.push(performance.now() - began);
}
times.sort((a, b) => a - b);
console.log(`change to effect: median ${times[times.length >> 1].toFixed(0)} ms, longest ${times.at(-1).toFixed(0)} ms ` +
  `of ${times.length} (baseline 1000 ms) ratio ${(times.at(-1) / 1000).toFixed(3)}`);
