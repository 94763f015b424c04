// web.mjs: tollgate-web with its collector and no web server, asked in FastCGI as a web server asks it.
import { connect } from 'node:net';
import { readFileSync } from 'node:fs';
import { fcgi, params as encode, record } from './fcgi.mjs';
import { makeNode } from './node.mjs';
import { descendants, eventually } from './stack.mjs';

const listens = (socket) => new Promise((done) => {
  const connection = connect(socket, () => { connection.destroy(); done(true); });
  connection.on('error', () => done(false));
});

// `conf` goes into [web]. The tenant is "f0"; its key may everything but change plans, operator's keys are made by tollgate().
export async function startWeb(conf = '') {
  const node = makeNode();
  const json = `${node.dir}/web.sock`, pages = `${node.dir}/pages.sock`;
  node.configure(`web = host=${node.pg} dbname=tollgate user=tollgate_web\n`
    + `[web]\nlisten = unix:${json}\npages_listen = unix:${pages}\npassword_memory_kib = 8192\npassword_passes = 1\n${conf}\n`);
  const key = (...args) => JSON.parse(node.tollgate(['key', 'create', 'test', ...args, '--json']).out).key;
  const web = {
    node, json, pages,
    key,
    tenantKey: key('--tenant', 'f0', '--scopes', 'call,track,read,admin'),
    operatorKey: key('--operator'),
    log: () => readFileSync(`${node.dir}/tollgate-web.log`, 'utf8'),
    // Its processes: [{pid, pool}], by the socket each one listens on being its own matter, in the order of their numbers.
    children: () => descendants(web.child.pid).filter((p) => p.name.startsWith('tollgate-web')).map((p) => p.pid),
    // One request; `key` is a bearer key, `body` a string.
    ask(method, path, { key: bearer, body = '', type = 'application/json', headers = {}, socket = json } = {}) {
      return fcgi(socket, web.params(method, path, { key: bearer, length: Buffer.byteLength(body), type: body && type, headers }), { role: 'responder', body });
    },
    params: (method, path, { key: bearer, length, type, headers = {} } = {}) => ({
      REQUEST_METHOD: method, REQUEST_URI: path, SCRIPT_NAME: path, QUERY_STRING: '', SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: '192.0.2.1', HTTP_HOST: '127.0.0.1',
      ...(length !== undefined && { CONTENT_LENGTH: length }), ...(type && { CONTENT_TYPE: type }),
      ...(bearer && { HTTP_AUTHORIZATION: `Bearer ${bearer}` }), ...headers,
    }),
    // A connection that has sent a request's parameters and `body` of it, and no end: {socket, ended: promise of the answer's bytes}.
    half(params, body = '', { socket = json, parts } = {}) {
      const connection = connect(socket), begin = Buffer.alloc(8);
      let bytes = Buffer.alloc(0);
      begin.writeUInt16BE(1, 0);
      const ended = new Promise((done) => connection.on('close', () => done(bytes.toString('latin1'))));
      connection.on('data', (b) => { bytes = Buffer.concat([bytes, b]); });
      connection.on('error', () => {});
      connection.write(parts ?? Buffer.concat([record(1, begin), record(4, encode(params)), record(4, Buffer.alloc(0)), ...(body ? [record(5, Buffer.from(body))] : [])]));
      return { connection, ended, send: (text) => connection.write(record(5, Buffer.from(text))), end: () => connection.write(record(5, Buffer.alloc(0))) };
    },
    async remove() {
      await node.stop(web.child);
      await node.remove();
    },
  };
  web.collector = await node.collector();
  web.child = node.start('tollgate-web');
  await eventually(async () => web.child.exitCode !== null || (await listens(json) && await listens(pages)), () => `tollgate-web: ${web.log()}`, 20);
  await eventually(async () => (await web.ask('GET', '/api/usage/tenant/f0/current', { key: web.tenantKey })).status !== 401, 'the keys in the limit table', 20);
  return web;
}
