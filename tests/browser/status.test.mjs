// The operator's status page: its numbers are those that a client counted; who may see it; with the keyboard; without script.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';
import { byStatus, load } from '../lib/load.mjs';
import { eventually } from '../lib/stack.mjs';
import { admin, env, launch, open, operator, sampledNode, sampleNode } from './lib.mjs';

let browser;
const tenant = makeTenant();
before(async () => { browser = await launch(); sampleNode(); });
after(() => { removeTenant(tenant); return browser.close(); });

const number = (text) => Number(text.replaceAll('\u202f', ''));
// Rows of the table under a heading: name → number.
async function table(page, heading) {
  const card = page.locator('.card', { has: page.getByRole('heading', { name: heading, exact: true }) });
  const rows = await card.locator('tr').evaluateAll((all) => all.slice(1).map((tr) => [...tr.cells].map((c) => c.innerText)));
  return Object.fromEntries(rows.map(([name, value]) => [name, number(value)]));
}
const node = (page) => page.locator('article.node', { hasText: sampledNode });

test('the decisions grow by exactly what a client counted, and so do the rows', async () => {
  const key = makeKey(tenant, ['call']);
  await eventually(async () => (await fetch(`${env.URL}/api/demo/first`, { headers: { authorization: `Bearer ${key}` } })).status === 200,
    'the key in the limit table', 20);
  const page = await operator(browser);
  const look = async () => {
    await page.goto(`${env.URL}/status`);
    return { ...await table(page, 'Decisions since the limit table was created'), ...await table(page, 'Collector since its start') };
  };
  const settled = async () => { // everything stored that was counted
    let seen, last;
    await eventually(async () => { last = seen; seen = await look(); return last && last['Rows stored'] === seen['Rows stored']; }, 'a quiet moment', 40);
    return seen;
  };
  const old = await settled();
  const many = (count, more) => load({ port: Number(env.PORT), count, connections: 4, path: () => '/api/demo/status', ...more });
  assert.deepEqual(byStatus((await many(120, { key })).answers), { 200: 120 });
  assert.deepEqual(byStatus((await many(30, { key: 'tg_unknown' })).answers), { 401: 30 });
  assert.deepEqual(byStatus((await many(20, { key, headers: { 'x-tenant-id': 'another' } })).answers), { 403: 20 });
  let grown;
  await eventually(async () => {
    const seen = await look();
    grown = Object.fromEntries(Object.keys(seen).map((k) => [k, seen[k] - old[k]]).filter(([k, n]) => n && !/ago|Batches|Last/.test(k)));
    return grown['Rows stored'] === 120;
  }, () => `the rows: ${JSON.stringify(grown)}`, 30);
  assert.deepEqual(grown, { 'Let through and counted': 120, 'Refused: no key, or an unknown one': 30, 'Refused: not allowed': 20,
    'All calls': 170, 'Rows stored': 120 });
  const card = async (name) => page.locator('article.limit', { has: page.getByRole('heading', { name, exact: true }) }).innerText();
  for (const name of ['Gate, median', 'Gate, p99']) assert.match(await card(name), /\d\s(µs|ms)[\s\S]*of [\d\s]+ calls (in the last|since)/);
  assert.match(await card('Lag'), /Keeps up/);
  assert.match(await card('Collector'), /Up [\s\S]*PostgreSQL connected, limit table ready[\s\S]*Running/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

for (const script of [true, false])
  test(`a day of a node stands in figures, as charts and as a table${script ? '' : ' (without script)'}`, async () => {
    const page = await operator(browser, { script });
    await page.goto(`${env.URL}/status`);
    const figures = await node(page).locator('dl.figures div').evaluateAll((all) => all.map((d) => d.innerText.split('\n').filter(Boolean)));
    const of = Object.fromEntries(figures);
    assert.equal(number(of.Calls), 89 * 110); // the first sample is where counting begins
    assert.equal(number(of.Refused), 89 * 11);
    const us = (text) => { assert.match(text, /µs$/); return parseFloat(text); };
    assert.ok(us(of.Median) > 5 && us(of.Median) <= 10, of.Median);
    assert.ok(us(of.p99) > 20 && us(of.p99) <= 50, of.p99);
    assert.equal(of['Worst lag'], '2.5\u202fs');
    assert.equal(of['Largest spool'], '1.5\u202fMB');
    assert.equal(await node(page).locator('rect.tail').count(), 86);
    assert.equal(await node(page).locator('rect.refused').count(), 86);
    assert.match(await node(page).innerText(), /A gap means/);
    await node(page).getByText('Show the numbers as a table').click();
    const rows = await node(page).locator('tbody tr').allInnerTexts();
    const with_calls = rows.filter((r) => /^\d\d:\d\d\s+99\s+11\s/.test(r));
    assert.equal(with_calls.length, 85);
    assert.equal(rows.filter((r) => /^\d\d:\d\d\s+396\s+44\s/.test(r)).length, 1); // the gap's calls stand behind it
    assert.ok(rows.filter((r) => /no sample/.test(r)).length >= 3);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

test('the page is for operators: an admin is refused, a stranger signs in first', async () => {
  const page = await admin(browser);
  assert.equal(await page.getByRole('link', { name: 'Status' }).count(), 0);
  assert.equal((await page.goto(`${env.URL}/status`)).status(), 403);
  assert.ok(!(await page.locator('main').innerText()).includes('Gate, median'));
  await page.context().close();
  const stranger = await open(browser, '/status');
  assert.match(stranger.url(), /sign-in$/);
  await stranger.context().close();
});

test('the keyboard leads to the page, opens its table and scrolls in it', async () => {
  const page = await operator(browser, { width: 390 });
  const tabTo = async (what) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      if (await what.evaluate((e) => e === document.activeElement)) return;
    }
    assert.fail('the keyboard does not reach it');
  };
  await tabTo(page.getByRole('link', { name: 'Status' }));
  await page.keyboard.press('Enter');
  await page.waitForURL(/status$/);
  await tabTo(node(page).locator('summary'));
  await page.keyboard.press('Enter');
  const region = node(page).getByRole('region', { name: /Numbers of node/ });
  await tabTo(region);
  await page.keyboard.press('ArrowRight');
  await eventually(() => region.evaluate((e) => e.scrollLeft > 0), 'it to scroll', 3);
  await page.context().close();
});
