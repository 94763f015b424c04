// What bash proposes for a line that begins with tollgate.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';

const top = path.resolve(import.meta.dirname, '../..');

// The proposals for the last of `words`, as the completion of an interactive bash gets them.
function proposed(...words) {
  const script = 'source cli/completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tollgate; printf "%s\\n" "${COMPREPLY[@]}"';
  const r = spawnSync('bash', ['-euc', script, 'bash', ...words], { cwd: top, encoding: 'utf8', env: { ...process.env, PATH: `${top}/build/release:${process.env.PATH}` } });
  assert.equal(r.status, 0, r.stderr);
  return r.stdout.split('\n').filter(Boolean);
}

test('every command and group is proposed, once', () => {
  const all = proposed('tollgate', '');
  const help = spawnSync(`${top}/build/release/tollgate`, ['help'], { encoding: 'utf8' }).stdout;
  const groups = [...new Set([...help.matchAll(/^ {2}tollgate (\S+)/gm)].map((m) => m[1]))].sort();
  assert.ok(groups.length > 10);
  assert.deepEqual([...all].sort(), groups);
  assert.deepEqual(proposed('tollgate', 'se'), ['setup']);
});

test("a group's commands and a command's options are proposed, behind options too", () => {
  assert.deepEqual(proposed('tollgate', 'tier', ''), ['change', 'create', 'list', 'remove', 'show']);
  assert.deepEqual(proposed('tollgate', '--config', 'tollgate.conf', 'key', 'cr'), ['create']);
  assert.deepEqual(proposed('tollgate', 'spool', 'rejected', ''), ['explain', 'list', 'replay']);
  assert.deepEqual(proposed('tollgate', 'spool', 'rejected', 'replay', '--d'), ['--dry-run']);
  assert.deepEqual(proposed('tollgate', 'setup', '--w'), ['--write-login']);
  assert.deepEqual(proposed('tollgate', 'tenant', 'create', 'acme', '--z'), ['--zone']);
  assert.ok(proposed('tollgate', 'tenant', 'create', '--').includes('--json'));
  assert.ok(!proposed('tollgate', 'tenant', 'create', '--').includes('--expires'), 'of another command');
});

test('a file is left to bash, and a word of the user\'s own has no proposal', () => {
  assert.deepEqual(proposed('tollgate', '--config', ''), []);
  assert.deepEqual(proposed('tollgate', 'tenant', 'show', ''), []);
});
