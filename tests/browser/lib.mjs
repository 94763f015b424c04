// lib.mjs: Chromium, and people of the demo signed in.
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

export const env = process.env;
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args });

// A page at `path`, nobody signed in. `faults` collects what the browser complains of: CSP violations, errors, failed loads.
export async function open(browser, path, { width = 1280, scale = 1, scheme = 'light', script = true, headers = {} } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, deviceScaleFactor: scale, colorScheme: scheme,
    javaScriptEnabled: script, extraHTTPHeaders: headers });
  const page = await context.newPage();
  page.faults = [];
  page.on('console', (m) => { if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) page.faults.push(m.text()); });
  page.on('pageerror', (e) => page.faults.push(String(e)));
  page.on('requestfailed', (r) => {
    const { errorText } = r.failure();
    if (errorText !== 'net::ERR_ABORTED') page.faults.push(`${r.url()} ${errorText}`); // left before it had come
  });
  await page.goto(env.URL + path);
  return page;
}

export async function signIn(page, email, password) {
  await page.goto(`${env.URL}/sign-in`);
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

export async function admin(browser, options) {
  const page = await open(browser, '/sign-in', options);
  await signIn(page, env.ADMIN_EMAIL, env.ADMIN_PASSWORD);
  return page;
}

export async function operator(browser, options) {
  const page = await open(browser, '/sign-in', options);
  await signIn(page, env.OPERATOR_EMAIL, env.OPERATOR_PASSWORD);
  return page;
}

// A node of its own with the samples of nearly a day, one in each quarter of an hour but for a gap of three: in each 99 calls that
// took 5 to 10 µs and 11 refused ones that took 20 to 50.
export const sampledNode = '00000000-0000-0000-0000-0000000000b1';
export function sampleNode() {
  execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c',
    `INSERT INTO tollgate.collector_nodes (node, token, host) VALUES ('${sampledNode}', '\\x', 'gate-2.example') ON CONFLICT DO NOTHING;
     INSERT INTO tollgate.node_samples (node, sampled_at, taken_at, table_id, admitted, passed, refused, latency, collecting_since, batches, rows,
       rejected, degraded, lag_seconds, spool_events, spool_bytes)
     SELECT '${sampledNode}', at, at, 1, n * 90, n * 9, n * 11, ARRAY[0, 0, 0, n * 99, 0, n * 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
       now() - interval '2 days', n, n * 90, 0, 0, CASE n WHEN 20 THEN 2.5 ELSE 0 END, 3, 1500000
     FROM generate_series(1, 90) AS n, LATERAL (SELECT date_bin('15 minutes', now(), '2000-01-01Z') - make_interval(mins => 15 * (91 - n)) AS at) x
     WHERE n NOT BETWEEN 50 AND 52 AND NOT EXISTS (SELECT FROM tollgate.node_samples s WHERE s.node = '${sampledNode}')`]);
}
