// The way through the pages in short, for every web server: what a server's own configuration can break.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { admin, env, launch, open, operator } from '../lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());
const heading = (page) => page.locator('h1').innerText();

test('an admin signs in, sees the limits, counts again and signs out', async () => {
  const page = await admin(browser);
  assert.equal(await heading(page), 'Riverside Family Clinic');
  assert.ok(await page.locator('article.limit').count() >= 4);
  assert.equal(await page.locator('svg.chart rect').count(), 30);
  await page.getByRole('button', { name: 'Refresh counts' }).click();
  assert.match(await page.getByRole('status').innerText(), /Counts refreshed/);
  assert.match(page.url(), new RegExp(`/tenant/${env.TENANT_ID}\\?counted=1$`));
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.equal(await heading(page), 'Sign in');
  await page.goto(`${env.URL}/`);
  assert.equal(await heading(page), 'Sign in');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('an operator searches the tenants and opens one', async () => {
  const page = await operator(browser);
  await page.getByRole('searchbox').fill('Oakfield');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByRole('link', { name: 'Oakfield Dental Care' }).click();
  assert.equal(await heading(page), 'Oakfield Dental Care');
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('style and picture come with their media types and are used', async () => {
  const page = await open(browser, '/sign-in');
  for (const [path, type] of [['/static/tollgate.css', /^text\/css/], ['/static/favicon.svg', /^image\/svg\+xml/]]) {
    const r = await page.request.get(env.URL + path);
    assert.equal(r.status(), 200, path);
    assert.match(r.headers()['content-type'], type, path);
  }
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.querySelector('button')).backgroundColor), 'rgba(0, 0, 0, 0)');
  assert.ok(await page.evaluate(() => document.querySelector('.brand img').naturalWidth) > 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('what is not there, not allowed or without a key is a page for a browser, with its status and its policy', async () => {
  const page = await admin(browser);
  for (const [path, status, words] of [['/nothing-here', 404, /nothing at this path/], ['/tenants', 403, /role/],
    ['/tenant/tenant_that_is_not', 403, /not your tenant/], ['/static/nothing.css', 404, /./], ['/api/demo/x', 401, /No API key/]]) {
    const r = await page.goto(env.URL + path);
    assert.equal(r.status(), status, path);
    assert.match(r.headers()['content-type'], /^text\/html/, path);
    assert.match(await page.locator('body').innerText(), words, path);
  }
  const r = await page.goto(`${env.URL}/nothing-here`);
  assert.match(r.headers()['content-security-policy'], /default-src 'none'/);
  await page.context().close();
});
