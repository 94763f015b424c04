// people.mjs: people with a browser's cookies and no browser: accounts of the demo, forms with their tokens, any address.
import { execFileSync } from 'node:child_process';
import { request } from 'node:http';

const { URL: base } = process.env;
let made = 0;

// A new account of `role` (an operator: tenant null); the command line makes it, as an operator would.
export function makeAccount(role, tenant, env = {}) {
  const email = `${role}-${process.pid}-${Date.now()}-${made++}@example.org`, password = 'a good long password';
  execFileSync('/bin/sh', ['-c', `exec ${process.env.TOLLGATE} "$@"`, 'tollgate', 'account', 'create', email,
    ...(tenant === null ? [] : ['--tenant', tenant]), '--role', role, '--password-stdin'], { input: password, env: { ...process.env, ...env } });
  return { email, password };
}

// One browser: keeps its cookies, follows no redirect. `address` is the local address that it comes from.
export class Visitor {
  constructor({ address = '127.0.0.1' } = {}) {
    this.address = address;
    this.cookies = {};
  }

  send(method, path, { form, headers = {} } = {}) {
    const body = form === undefined ? undefined : new URLSearchParams(form).toString();
    const cookie = Object.entries(this.cookies).map(([name, value]) => `${name}=${value}`).join('; ');
    return new Promise((done, failed) => {
      const r = request(base + path, { method, localAddress: this.address, agent: false, headers: { accept: 'text/html',
        ...(cookie && { cookie }), ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }),
        ...headers } }, (answer) => {
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.on('end', () => {
          const set = answer.headers['set-cookie'] ?? [];
          for (const line of set) {
            const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
            if (value === '') delete this.cookies[name];
            else this.cookies[name] = value;
          }
          done({ status: answer.statusCode, location: answer.headers.location, headers: answer.headers, set,
            text: Buffer.concat(parts).toString() });
        });
        answer.on('error', failed);
      });
      r.on('error', failed);
      r.end(body);
    });
  }

  get(path) { return this.send('GET', path); }

  // The token of the forms: of the pages once signed in, of the sign-in form before.
  async token() {
    const page = await this.get('/account');
    const { text } = page.status === 200 ? page : await this.get('/sign-in');
    return /name="csrf" value="([^"]+)"/.exec(text)[1];
  }

  // Sends a form with the right token, as from a page of ours.
  async post(path, form = {}) {
    return this.send('POST', path, { form: { csrf: await this.token(), ...form }, headers: { origin: base } });
  }

  // Always by the sign-in form's own token.
  async signIn({ email, password }) {
    const { text } = await this.get('/sign-in');
    const csrf = /name="csrf" value="([^"]+)"/.exec(text)[1];
    return this.send('POST', '/sign-in', { form: { csrf, email, password }, headers: { origin: base } });
  }
}

// A visitor who has signed in.
export async function signedIn(who, options) {
  const visitor = new Visitor(options);
  const r = await visitor.signIn(who);
  if (r.status !== 303) throw new Error(`${who.email} does not get in: ${r.status} ${r.text}`);
  return visitor;
}
