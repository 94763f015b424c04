// fcgi.mjs: a FastCGI client (FastCGI Specification 1.0), for talking to the gate without a web server.
import { connect } from 'node:net';

const BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6;
const RESPONDER = 1, AUTHORIZER = 2;

export function record(type, content) {
  const head = Buffer.alloc(8);
  head.writeUInt8(1, 0);
  head.writeUInt8(type, 1);
  head.writeUInt16BE(1, 2);
  head.writeUInt16BE(content.length, 4);
  return Buffer.concat([head, content]);
}

// A record holds at most 65,535 bytes.
function slices(bytes) {
  return Array.from({ length: Math.ceil(bytes.length / 65528) }, (_, i) => bytes.subarray(i * 65528, (i + 1) * 65528));
}

function pair(name, value) {
  const size = (n) => (n < 128 ? Buffer.from([n]) : Buffer.from([(n >>> 24) | 0x80, n >>> 16, n >>> 8, n].map((b) => b & 255)));
  const [n, v] = [Buffer.from(name), Buffer.from(value)];
  return Buffer.concat([size(n.length), size(v.length), n, v]);
}

export const params = (all) => Buffer.concat(Object.entries(all).map(([k, v]) => pair(k, String(v))));

/*
 * One request to `address` ("/path/of/socket" or {host, port}). `given` are FCGI_PARAMS; role 'authorizer' or 'responder'.
 * `pause`, a function, is called and awaited after the first `pauseAfter` bytes.
 * Resolves to {status, headers, body}; rejects when the connection breaks before the end of the request.
 */
export function fcgi(address, given, { role = 'authorizer', body = '', pause = null, pauseAfter = 0 } = {}) {
  return new Promise((done, failed) => {
    const socket = typeof address === 'string' ? connect(address) : connect(address.port, address.host ?? '127.0.0.1');
    let pending = Buffer.alloc(0), out = Buffer.alloc(0), ended = false;
    socket.setTimeout(30000, () => socket.destroy(new Error('no answer within 30 s')));
    socket.on('error', failed);
    socket.on('close', () => { if (!ended) failed(new Error('closed before the end of the request')); });
    socket.on('connect', async () => {
      const begin = Buffer.alloc(8);
      begin.writeUInt16BE(role === 'authorizer' ? AUTHORIZER : RESPONDER, 0);
      const all = params(given);
      const stdin = role === 'responder' ? [...slices(Buffer.from(body)).map((b) => record(STDIN, b)), record(STDIN, Buffer.alloc(0))] : [];
      let bytes = Buffer.concat([record(BEGIN, begin), ...slices(all).map((b) => record(PARAMS, b)), record(PARAMS, Buffer.alloc(0)), ...stdin]);
      if (pause) {
        socket.write(bytes.subarray(0, pauseAfter));
        bytes = bytes.subarray(pauseAfter);
        await pause();
      }
      socket.write(bytes);
    });
    socket.on('data', (bytes) => {
      pending = Buffer.concat([pending, bytes]);
      while (pending.length >= 8) {
        const length = pending.readUInt16BE(4), padding = pending[6];
        if (pending.length < 8 + length + padding) return;
        const type = pending[1], content = pending.subarray(8, 8 + length);
        pending = pending.subarray(8 + length + padding);
        if (type === STDOUT) out = Buffer.concat([out, content]);
        if (type === END) {
          ended = true;
          socket.destroy();
          const split = out.indexOf('\r\n\r\n');
          const head = out.toString('latin1', 0, split < 0 ? out.length : split);
          const headers = {};
          for (const line of head.split('\r\n')) {
            const colon = line.indexOf(':');
            if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
          }
          done({ status: Number((headers.status ?? '200').slice(0, 3)), headers, body: split < 0 ? '' : out.toString('utf8', split + 4) });
        }
      }
    });
  });
}

// What lighttpd and Apache give an authorizer of a call.
export const callParams = (uri, key, more = {}) => ({
  REQUEST_METHOD: 'GET', REQUEST_URI: uri, SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: '127.0.0.1',
  ...(key ? { HTTP_AUTHORIZATION: `Bearer ${key}` } : {}), ...more,
});
