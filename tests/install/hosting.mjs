// hosting.mjs: the commands of docs/hosting.md: its blocks marked sh-root, each with the heading that it stands under.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/stack.mjs';

// What follows sh-root in a block's first line: which of several ways it belongs to; none: all of them.
const blocks = [];
let chapter, section, open;
for (const line of readFileSync(join(root, 'docs/hosting.md'), 'utf8').split('\n')) {
  if (open) {
    if (line === '```') open = blocks.push(open) && undefined;
    else open.text += `${line}\n`;
  } else if (line.startsWith('```')) {
    const [marked, ...ways] = line.slice(3).split(' ');
    open = { chapter, section, marked, way: ways.join(' '), text: '', used: false };
  } else if (line.startsWith('## ')) [chapter, section] = [line.slice(3), undefined];
  else if (line.startsWith('### ')) section = line.slice(4);
}

// The blocks that `wanted` takes, in the document's order; never none.
export function take(wanted) {
  const taken = blocks.filter((b) => b.marked === 'sh-root' && wanted(b));
  if (taken.length === 0) throw new Error(`docs/hosting.md has no such block: ${wanted}`);
  for (const b of taken) b.used = true;
  return taken.map((b) => b.text);
}
// Those under a heading that belong to no way, or to this one.
export const under = (heading, way = '') => take((b) => (b.section ?? b.chapter) === heading && (b.way === '' || b.way === way));
export const marked = (way) => take((b) => b.way === way);
export const unused = () => blocks.filter((b) => b.marked === 'sh-root' && !b.used).map((b) => b.text);
