// lib.mjs: looking into the stack that the environment names (demo.env).
import { execFileSync } from 'node:child_process';

export { eventually, sleep } from '../lib/stack.mjs';

// Rows of a query as objects, by psql as the owner.
export function db(query) {
  return JSON.parse(execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c',
    `WITH q AS (${query}) SELECT coalesce(json_agg(q), '[]') FROM q`], { encoding: 'utf8', maxBuffer: 1 << 28 }));
}

export function tollgate(...args) {
  return execFileSync('/bin/sh', ['-c', `exec ${process.env.TOLLGATE} "$@"`, 'tollgate', ...args], { encoding: 'utf8' });
}
