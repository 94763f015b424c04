// Who the collector is: started as root, it becomes the configuration's [process] user before it touches a file.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';

const isRoot = process.getuid() === 0;
let node;
after(() => node?.remove());

test('started as root it becomes [process] user, and its files are that user\'s', { skip: !isRoot && 'not root' }, async () => {
  node = makeNode('[process]\nuser = nobody\n');
  execFileSync('chown', ['-R', 'nobody', node.spool, node.run, join(node.dir, 'storage')]);
  const nobody = Number(execFileSync('id', ['-u', 'nobody'], { encoding: 'utf8' }));
  const collector = await node.collector();
  assert.equal(statSync(`/proc/${collector.pid}`).uid, nobody);
  for (const dir of [node.spool, node.run])
    for (const name of readdirSync(dir)) assert.equal(statSync(join(dir, name)).uid, nobody, name);
  await node.stop(collector);
  assert.equal(collector.exitCode, 0);
});
