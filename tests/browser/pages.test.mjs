// Every page as people meet it: signing in, reading, refreshing, being refused; with the keyboard; without script.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { admin, env, launch, open, operator, signIn } from './lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

const heading = (page) => page.locator('h1').innerText();
const cli = (args, input) => execFileSync('/bin/sh', ['-c', `exec ${env.TOLLGATE} "$@"`, 'tollgate', ...args], { input, encoding: 'utf8' });

// An account of its own for a test, so that the demo's stays as it is.
function account(role) {
  const email = `${role}-${Date.now()}-${Math.random().toString(36).slice(2)}@example.org`, password = 'a good long password';
  cli(['account', 'create', email, ...(role === 'operator' ? [] : ['--tenant', env.TENANT_ID]), '--role', role, '--password-stdin'], password);
  return { email, password };
}

for (const script of [true, false]) {
  const how = script ? '' : ' (without script)';

  test(`an admin signs in, sees the plan and a bar for each limit, counts again, and signs out${how}`, async () => {
    const page = await admin(browser, { script });
    assert.equal(await heading(page), 'Riverside Family Clinic');
    for (const label of ['Patients', 'Users', 'Storage', 'API calls a day']) {
      const card = page.locator('article', { has: page.getByRole('heading', { name: label, exact: true }) });
      assert.match(await card.innerText(), /of 1\u202f000|of \d/);
      assert.match(await card.innerText(), /%/);
    }
    assert.match(await page.locator('main').innerText(), /\d+ days? left/);
    await page.getByRole('button', { name: 'Refresh counts' }).click();
    assert.match(await page.getByRole('status').innerText(), /Counts refreshed/);
    await page.getByRole('button', { name: 'Sign out' }).click();
    assert.equal(await heading(page), 'Sign in');
    await page.goto(`${env.URL}/`);
    assert.equal(await heading(page), 'Sign in');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });

  test(`an operator finds the tenants by their nearest limit, searches, and opens one${how}`, async () => {
    const page = await operator(browser, { script });
    assert.equal(await heading(page), 'Tenants');
    const percents = (await page.locator('td.number').allInnerTexts()).filter((t) => /%/.test(t)).map((t) => parseFloat(t));
    assert.ok(percents.length >= 6);
    assert.deepEqual(percents, [...percents].sort((a, b) => b - a));
    await page.getByRole('searchbox').fill('Oakfield');
    await page.getByRole('button', { name: 'Search' }).click();
    assert.equal(await page.locator('tbody tr').count(), 1);
    await page.getByRole('link', { name: 'Oakfield Dental Care' }).click();
    assert.equal(await heading(page), 'Oakfield Dental Care');
    assert.match(await page.getByRole('region', { name: 'Warnings' }).innerText(), /Approaching/);
    await page.goto(`${env.URL}/tenants?q=nobody-has-this-name`);
    assert.match(await page.locator('main').innerText(), /No tenant matches/);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
}

test('the thirty days stand as a chart and as a table with the same days', async () => {
  const page = await admin(browser);
  await page.getByText('Show the numbers as a table').click();
  assert.equal(await page.locator('details tbody tr').count(), 30);
  assert.equal(await page.locator('svg.chart rect').count(), 30);
  await page.context().close();
});

test('what is exceeded, unlimited and zero each has its own words', async () => {
  const page = await operator(browser);
  const words = async (tenant) => { await page.goto(`${env.URL}/tenant/${tenant}`); return page.locator('main').innerText(); };
  assert.match(await words('tenant_1762083064724'), /Exceeded[\s\S]*122/);
  assert.match(await words('tenant_1762083064835'), /Unlimited/);
  assert.match(await words('tenant_1762083064946'), /Not included in this plan/);
  assert.equal((await page.locator('main').innerText()).match(/Not included in this plan/g).length, 1);
  assert.match(await words('tenant_1762083065057'), /No calls yet[\s\S]*curl -H/);
  await page.goto(`${env.URL}/tenants?q=Northgate`);
  assert.match(await page.locator('tbody tr').innerText(), /Unused/);
  await page.context().close();
});

test('an unknown account and a wrong password get the same answer', async () => {
  const page = await open(browser, '/sign-in');
  await signIn(page, `nobody-${Date.now()}@example.org`, 'wrong wrong wrong');
  const unknown = await page.locator('main').innerText();
  const { email } = account('viewer');
  await signIn(page, email, 'wrong wrong wrong');
  assert.equal(await page.locator('main').innerText(), unknown);
  assert.match(unknown, /The e-mail address or the password is wrong/);
  await page.context().close();
});

test('guessing at one account is slowed, and another from the same address still gets in', async () => {
  const victim = account('viewer'), neighbour = account('viewer');
  const page = await open(browser, '/sign-in');
  for (let i = 0; i < 6; i++) await signIn(page, victim.email, `guess number ${i}`);
  assert.match(await page.locator('main').innerText(), /Too many tries/);
  await signIn(page, neighbour.email, neighbour.password);
  assert.equal(await heading(page), 'Riverside Family Clinic');
  await page.context().close();
});

test('a viewer sees the usage and no button to refresh the counts; a form of theirs is refused', async () => {
  const viewer = account('viewer');
  const page = await open(browser, '/sign-in');
  await signIn(page, viewer.email, viewer.password);
  assert.equal(await page.getByRole('button', { name: 'Refresh counts' }).count(), 0);
  const token = await page.locator('input[name=csrf]').first().inputValue();
  const r = await page.request.post(`${env.URL}/tenant/${env.TENANT_ID}/refresh`, { form: { csrf: token }, headers: { origin: env.URL }, maxRetries: 2 });
  assert.equal(r.status(), 403);
  await page.context().close();
});

test('a form without its token, or from elsewhere, changes nothing', async () => {
  const page = await admin(browser);
  const token = await page.locator('input[name=csrf]').first().inputValue();
  const post = (form, headers) => page.request.post(`${env.URL}/tenant/${env.TENANT_ID}/refresh`, { form, headers, maxRedirects: 0, maxRetries: 2 });
  assert.equal((await post({ csrf: 'x' }, { origin: env.URL })).status(), 403);
  assert.equal((await post({ csrf: token }, { origin: 'http://elsewhere.example' })).status(), 403);
  assert.equal((await post({ csrf: token }, { origin: env.URL })).status(), 303);
  await page.context().close();
});

test("another tenant's page, existing or not, is the same refusal", async () => {
  const page = await admin(browser);
  const texts = [];
  for (const id of ['tenant_1762083064611', 'tenant_that_is_not']) {
    const r = await page.goto(`${env.URL}/tenant/${id}`);
    assert.equal(r.status(), 403);
    texts.push((await page.locator('main').innerText()).replace(/Request \w+/, 'Request'));
  }
  assert.equal(texts[0], texts[1]);
  assert.equal((await page.goto(`${env.URL}/tenants`)).status(), 403);
  await page.context().close();
});

test('a changed password ends every session of the account', async () => {
  const who = account('admin');
  const [first, second] = [await open(browser, '/sign-in'), await open(browser, '/sign-in')];
  for (const page of [first, second]) await signIn(page, who.email, who.password);
  await first.goto(`${env.URL}/account`);
  await first.getByLabel('Current password').fill(who.password);
  await first.getByLabel('New password').fill('another good password');
  await first.locator('main form button').click();
  assert.equal(await heading(first), 'Sign in');
  await second.goto(`${env.URL}/`);
  assert.equal(await heading(second), 'Sign in');
  await signIn(second, who.email, 'another good password');
  assert.equal(await heading(second), 'Riverside Family Clinic');
  await first.context().close();
  await second.context().close();
});

test('the cookie is for this site, for HTTP only, and not the one from before signing in', async () => {
  const page = await open(browser, '/sign-in');
  const before = (await page.context().cookies()).map((c) => c.value);
  await signIn(page, env.ADMIN_EMAIL, env.ADMIN_PASSWORD);
  const session = (await page.context().cookies()).find((c) => c.name === 'tollgate_session');
  assert.ok(session.httpOnly);
  assert.equal(session.sameSite, 'Lax');
  assert.ok(!before.includes(session.value));
  await page.context().close();
});

test('everything can be done with the keyboard, and what has the focus shows it', async () => {
  const page = await open(browser, '/sign-in');
  const focused = () => page.evaluate(() => {
    const e = document.activeElement, s = getComputedStyle(e);
    return { text: (e.innerText || e.getAttribute('aria-label') || e.name || '').trim(), outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 };
  });
  const tabTo = async (text) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab');
      const f = await focused();
      assert.ok(f.outline, `no outline on ${f.text}`);
      if (f.text === text) return;
    }
    assert.fail(`the keyboard does not reach ${text}`);
  };
  await tabTo('email');
  await page.keyboard.type(env.OPERATOR_EMAIL);
  await tabTo('password');
  await page.keyboard.type(env.OPERATOR_PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForURL(/tenants/);
  await tabTo('Riverside Family Clinic');
  await page.keyboard.press('Enter');
  await page.waitForURL(/tenant\//);
  await tabTo('Refresh counts');
  await page.keyboard.press('Enter');
  await page.waitForURL(/counted/);
  await tabTo('Sign out');
  await page.keyboard.press('Enter');
  await page.waitForURL(/sign-in/);
  await page.context().close();
});

test('a browser gets a page for what is not found or not allowed, a script gets JSON', async () => {
  const page = await admin(browser);
  const r = await page.goto(`${env.URL}/nothing-here`);
  assert.equal(r.status(), 404);
  assert.match(r.headers()['content-type'], /text\/html/);
  const json = await fetch(`${env.URL}/nothing-here`, { headers: { accept: 'application/json' } });
  assert.equal(json.status, 404);
  assert.ok((await json.json()).error);
  const gate = await fetch(`${env.URL}/api/demo/x`, { headers: { accept: 'text/html' } });
  assert.equal(gate.status, 401);
  assert.match(await gate.text(), /<h1>No API key<\/h1>/);
  await page.context().close();
});
