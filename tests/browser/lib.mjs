// lib.mjs: Chromium, and people of the demo signed in.
import { chromium } from 'playwright-core';

export const env = process.env;
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args });

// A page at `path`, nobody signed in. `faults` collects what the browser complains of: CSP violations, errors, failed loads.
export async function open(browser, path, { width = 1280, scheme = 'light', script = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, javaScriptEnabled: script });
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
