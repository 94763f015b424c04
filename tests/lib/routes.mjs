// routes.mjs: the table of cgi/web/routes.c, so that a test can tell which route it has forgotten.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './stack.mjs';

// [{method, path, who, scopes, csrf}]: who is "ANYONE", "KEY", "VIEWER", …; scopes are those of which a key has to have one.
export function readRoutes() {
  const text = readFileSync(join(root, 'cgi/web/routes.c'), 'utf8');
  const tenant = /^#define TENANT "(.*)"$/m.exec(text)[1];
  const table = /const struct route routes\[\] = \{\n([\s\S]*?)\n\};/.exec(text)[1];
  const lines = table.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => {
    const m = /^ {4}\{METHOD_(\w+), (?:(TENANT) ?)?(?:"([^"]*)")?, WHO_(\w+), ([A-Z0| ]+), BODY_\w+, (true|false), \w+\},$/.exec(line);
    if (!m) throw new Error(`routes.c: this line can't be read: ${line}`);
    return { method: m[1], path: (m[2] ? tenant : '') + (m[3] ?? ''), who: m[4], scopes: m[5] === '0' ? [] : m[5].toLowerCase().split(' | '),
      csrf: m[6] === 'true' };
  });
}
