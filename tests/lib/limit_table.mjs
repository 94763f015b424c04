// limit_table.mjs: what a node's limit table holds against what the database does.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './stack.mjs';

const fields = (text, by) => text.trim().split('\n').map((line) => line.split(by));

/*
 * [tenant, limit, window, start, used] of the table in `run` that may still decide something, and those of which the database holds
 * another count. ask(sql) gives psql's unaligned text. A period that ended two days ago decides nothing any more, and is not read.
 */
export function compareTable(run, ask) {
  const held = fields(execFileSync(join(root, 'build/release/tools/table_show'), [run], { encoding: 'utf8', maxBuffer: 1 << 28 }), '\t');
  const stored = new Map(fields(ask(`SELECT c.tenant_id, l.limit_key, c.limit_window, c.starts_us, c.used FROM tollgate.table_counts c
    JOIN tollgate.usage_limit_keys l ON l.metric_type = c.metric_type AND l.limit_window = c.limit_window`), '|').map((f) => [f.slice(0, 4).join(' '), f[4]]));
  const open = new Set(fields(ask("SELECT tenant_id, tollgate.us(starts_at) FROM tollgate.tenant_periods WHERE ends_at > now() - interval '2 days'"), '|')
    .map((f) => f.join(' ')));
  const matters = held.filter(([tenant, , window, start]) => window !== 'period' || open.has(`${tenant} ${start}`));
  return { matters, wrong: matters.filter((f) => (stored.get(f.slice(0, 4).join(' ')) ?? '0') !== f[4]) };
}
