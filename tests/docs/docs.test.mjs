// Every ```sh block of the README and docs/ is run, in order, against a running demo; the words around it say what it needs.
// Blocks marked sh-demo start a demo of their own (tests/run does), sh-root install on the machine (make install DESTDIR= is tried).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/stack.mjs';

const files = ['README.md', ...readdirSync(join(root, 'docs')).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`)];
for (const file of files) {
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, block] of text.matchAll(/^```sh\n([\s\S]*?)^```/gm)) {
    if (/^make (run|test)\b/m.test(block)) continue; // the two commands: tests/run, and this very run
    test(`${file}: ${block.trim().split('\n')[0]}`, () => {
      const script = block.replaceAll('. var/demo.env', '. "$STATE/demo.env"');
      const r = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { cwd: root, encoding: 'utf8', timeout: 60000, env: process.env });
      assert.equal(r.status, 0, `${script}\n${r.stdout}\n${r.stderr}`);
    });
  }
  test(`${file}: what it links to is there`, () => {
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g))
      assert.ok(existsSync(join(root, file, '..', target)), target);
  });
}

test('make install puts programs, templates, schema, confs and units into DESTDIR', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tg-install-'));
  const r = spawnSync('make', ['-s', 'install', `DESTDIR=${dir}`, 'PREFIX=/usr'], { cwd: root, encoding: 'utf8', timeout: 120000 });
  assert.equal(r.status, 0, r.stderr);
  const all = spawnSync('find', [dir, '-type', 'f'], { encoding: 'utf8' }).stdout;
  for (const name of ['tollgate-gate', 'tollgate-web', 'tollgate-collector', 'overview.tpl', '001_tables.sql', 'lighttpd-conf/tollgate.lua',
    'apache-conf/tollgate.conf', 'tollgate.css', 'tollgate-collector.service', 'tollgate.conf']) assert.ok(all.includes(name), name);
  rmSync(dir, { recursive: true });
});
