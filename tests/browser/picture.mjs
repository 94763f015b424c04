// picture.mjs: the README's picture, of a demo as `make run` starts it: a limit was lowered, a call refused, and the tenant looks.
//   node tests/lib/with_stack.mjs lighttpd node tests/browser/picture.mjs
import { eventually } from '../lib/stack.mjs';
import { admin, env, launch } from './lib.mjs';

const target = new URL('../../docs/pictures/overview.png', import.meta.url).pathname;
const put = (limit) => fetch(`${env.URL}/api/subscription/tenant/${env.TENANT_ID}`, { method: 'PUT',
  headers: { authorization: `Bearer ${env.OPERATOR_KEY}`, 'content-type': 'application/json' },
  body: JSON.stringify({ usage_limits: { api_calls_per_day: limit } }) });
const call = () => fetch(`${env.URL}/api/demo/hello`, { headers: { authorization: `Bearer ${env.TENANT_KEY}` } });

const { usage } = await (await fetch(`${env.URL}/api/usage/tenant/${env.TENANT_ID}/current`,
  { headers: { authorization: `Bearer ${env.TENANT_KEY}` } })).json();
await put(Math.max(1, Math.floor(usage.api_calls_today / 100) * 100));
await eventually(async () => (await call()).status === 429, 'a call to be refused', 10);

const browser = await launch();
const page = await admin(browser, { width: 680, scale: 2 });
const card = page.locator('article', { hasText: 'API calls a day' });
await eventually(async () => { await page.reload(); return /Exceeded/.test(await card.innerText()); }, 'the bar to be red', 10);
const { y, height } = await card.boundingBox();
await page.screenshot({ path: target, clip: { x: 0, y: 0, width: 680, height: Math.ceil(y + height + 16) }, fullPage: true });
await browser.close();
await put(null);
