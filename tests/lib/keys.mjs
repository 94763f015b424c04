// keys.mjs: keys of any scope, put straight into tollgate.api_keys, for tests of who may what.
import { randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';

const mask = (1n << 64n) - 1n;
const iv = [0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n];
const sigma = [
  '0123456789abcdef', 'ea489fd61c02b753', 'b8c052fdae367194', '7931dcbe265a40f8',
  '905724afe1bc683d', '2c6a0b834d75fe19', 'c51fed4a0763928b', 'db7ec13950f4862a',
  '6fe9b308c2d714a5', 'a2847615fb9e3cd0',
];

// BLAKE2b with 32 bytes of output (RFC 7693), of one block or more; node's own has 64 only.
export function blake2b256(text) {
  const input = Buffer.from(text);
  const h = [...iv];
  h[0] ^= 0x01010020n;
  const blocks = Math.max(1, Math.ceil(input.length / 128));
  for (let b = 0; b < blocks; b++) {
    const block = Buffer.alloc(128);
    input.copy(block, 0, b * 128);
    const m = Array.from({ length: 16 }, (_, i) => block.readBigUInt64LE(i * 8));
    const v = [...h, ...iv];
    v[12] ^= BigInt(Math.min(input.length, (b + 1) * 128));
    if (b === blocks - 1) v[14] ^= mask;
    const rot = (x, n) => ((x >> BigInt(n)) | (x << BigInt(64 - n))) & mask;
    const mix = (a, bb, c, d, x, y) => {
      v[a] = (v[a] + v[bb] + x) & mask; v[d] = rot(v[d] ^ v[a], 32);
      v[c] = (v[c] + v[d]) & mask; v[bb] = rot(v[bb] ^ v[c], 24);
      v[a] = (v[a] + v[bb] + y) & mask; v[d] = rot(v[d] ^ v[a], 16);
      v[c] = (v[c] + v[d]) & mask; v[bb] = rot(v[bb] ^ v[c], 63);
    };
    for (let round = 0; round < 12; round++) {
      const s = [...sigma[round % 10]].map((x) => m[parseInt(x, 16)]);
      for (let i = 0; i < 4; i++) mix(i, i + 4, i + 8, i + 12, s[2 * i], s[2 * i + 1]);
      for (let i = 0; i < 4; i++) mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, s[8 + 2 * i], s[9 + 2 * i]);
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
  }
  const out = Buffer.alloc(64);
  h.forEach((x, i) => out.writeBigUInt64LE(x, i * 8));
  return out.subarray(0, 32);
}

// A key of `scopes` (an array) for `tenant` (null: an operator's); the database's PG* variables are in the environment.
export function makeKey(tenant, scopes, { expires = null } = {}) {
  const id = [...randomBytes(8)].map((b) => 'abcdefghijklmnopqrstuvwxyz234567'[b % 32]).join('');
  const key = `tg_${id}_${randomBytes(32).toString('base64url')}`;
  const quoted = (s) => (s === null ? 'NULL' : `'${s.replaceAll("'", "''")}'`);
  execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c',
    `INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes, expires_at) VALUES ('${id}', ${quoted(tenant)}, 'test',
     '\\x${blake2b256(key).toString('hex')}', '{${scopes.join(',')}}', ${quoted(expires)})`]);
  return key;
}
export function revokeKey(key) {
  execFileSync('psql', ['-XqAt', '-c', `UPDATE tollgate.api_keys SET revoked_at = now() WHERE id = '${key.slice(3, 11)}'`]);
}

// A tenant of its own for a test, on the demo's unlimited tier; returns its id. removeTenant takes it away with all it has.
export function makeTenant(id = `test_${randomBytes(6).toString('hex')}`) {
  execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', `
    INSERT INTO tenants (id, name) VALUES ('${id}', 'Made by a test');
    INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) VALUES ('${id}', '${id}') ON CONFLICT DO NOTHING;
    SELECT tollgate.set_subscription('${id}', (SELECT id FROM subscription_tiers ORDER BY (limits->>'api_calls_per_day')::numeric LIMIT 1),
      '{"api_calls_per_day":-1,"file_uploads_per_period":-1}'), tollgate.ensure_periods('${id}', now(), now() + interval '70 days')`]);
  return id;
}
export function removeTenant(id) {
  execFileSync('psql', ['-XqAt', '-c', `DELETE FROM tenants WHERE id = '${id}'`]);
}
