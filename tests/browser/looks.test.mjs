// Every page at 390 and 1280 px, light and dark: nothing that axe objects to, nothing to scroll sideways; pictures to look at.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { makeKey } from '../lib/keys.mjs';
import { eventually } from '../lib/stack.mjs';
import { admin, env, launch, open, operator, sampleNode } from './lib.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = new URL(`../../build/screenshots/${env.SERVER}/`, import.meta.url).pathname;
const zero = 'tenant_1762083064946'; // its plan has nothing in it
let browser, headers;
// Someone whose browser sends a key, as a single-page application's does.
const limited = (b, options) => open(b, '/sign-in', { ...options, headers });
before(async () => {
  browser = await launch();
  mkdirSync(pictures, { recursive: true });
  sampleNode();
  headers = { authorization: `Bearer ${makeKey(zero, ['call'])}` };
  await eventually(async () => (await fetch(`${env.URL}/api/demo/x`, { headers })).status === 429, 'the key in the limit table', 20);
});
after(() => browser.close());

const pages = [
  ['sign-in', open, '/sign-in'],
  ['overview', admin, '/'],
  ['account', admin, '/account'],
  ['refused', admin, '/tenants'],
  ['tenants', operator, '/tenants'],
  ['status', operator, '/status'],
  ['approaching', operator, '/tenant/tenant_1762083064611'],
  ['exceeded', operator, '/tenant/tenant_1762083064724'],
  ['unlimited', operator, '/tenant/tenant_1762083064835'],
  ['zero', operator, '/tenant/tenant_1762083064946'],
  ['empty', operator, '/tenant/tenant_1762083065057'],
  ['gate-401', open, '/api/demo/x'],
  ['gate-429', limited, '/api/demo/x'],
];

for (const width of [390, 1280])
  for (const scheme of ['light', 'dark'])
    test(`every page at ${width} px, ${scheme}`, async (t) => {
      const people = new Map([[open, await open(browser, '/sign-in', { width, scheme })], [admin, await admin(browser, { width, scheme })],
        [operator, await operator(browser, { width, scheme })], [limited, await limited(browser, { width, scheme })]]);
      for (const [name, as, path] of pages)
        await t.test(name, async () => {
          const page = people.get(as);
          await page.goto(env.URL + path);
          await page.screenshot({ path: `${pictures}${name}-${width}-${scheme}.png`, fullPage: true });
          const scroll = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(scroll <= 0, `${scroll} px to scroll sideways`);
          const session = await page.context().newCDPSession(page); // past the page's own policy, which allows no script
          await session.send('Page.setBypassCSP', { enabled: true });
          await page.reload();
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => window.axe.run());
          assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), []);
          assert.deepEqual(page.faults, []);
          await session.detach();
        });
      for (const page of people.values()) await page.context().close();
    });
