// hearing.mjs: back ends that keep what they hear, an HTTP one and a FastCGI one. `bytes` is everything that arrived, byte by byte (latin1);
// `heard` are the requests in it: {method, target, headers: [[name, value]…], body, problems}. Header names are as HTTP spells them: lower
// case, with dashes. `problems` says where two readers of the same bytes could differ, which is what request smuggling lives on.
import { createServer } from 'node:net';
import { record } from './fcgi.mjs';

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

function listen(backend, onConnection) {
  const listener = createServer((socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  backend.close = () => listener.close();
  return new Promise((done) => listener.listen(0, '127.0.0.1', () => {
    backend.port = listener.address().port;
    done(backend);
  }));
}

// The body of a request by its headers: {body, rest}, or null while it is incomplete. What is doubtful goes into `problems`.
function bodyOf(headers, rest, problems) {
  const lengths = headers.filter(([n]) => n === 'content-length').map(([, v]) => v);
  const codings = headers.filter(([n]) => n === 'transfer-encoding').map(([, v]) => v);
  if (lengths.length + codings.length > 1) problems.push(`framed more than once: ${lengths} ${codings}`);
  if (codings.length === 0) {
    const length = lengths[0] ?? '0';
    if (!/^\d{1,9}$/.test(length)) problems.push(`the length ${length}`);
    return rest.length < Number(length) ? null : { body: rest.slice(0, Number(length)), rest: rest.slice(Number(length)) };
  }
  if (codings[0].toLowerCase() !== 'chunked') problems.push(`the coding ${codings[0]}`);
  let body = '';
  for (;;) {
    const line = rest.indexOf('\r\n');
    if (line < 0) return null;
    const size = rest.slice(0, line);
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) problems.push(`the chunk size ${size}`);
    const n = parseInt(size, 16) || 0;
    if (rest.length < line + n + 4) return null;
    if (rest.slice(line + 2 + n, line + 4 + n) !== '\r\n') problems.push('a chunk without its end');
    body += rest.slice(line + 2, line + 2 + n);
    rest = rest.slice(line + 4 + n);
    if (n === 0) return { body, rest };
  }
}

// One request off the beginning of `text`; null while it is incomplete.
function requestOf(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [line, ...lines] = text.slice(0, end).split('\r\n');
  const problems = [], headers = [];
  if (!/^[A-Za-z-]+ [^ ]+ HTTP\/1\.[01]$/.test(line)) problems.push(`the line ${line}`);
  for (const l of lines) {
    const colon = l.indexOf(':'), name = l.slice(0, Math.max(colon, 0)), value = l.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    if (!token.test(name) || /[\0-\x08\x0a-\x1f\x7f]/.test(value)) problems.push(`the header ${l}`);
    headers.push([name.toLowerCase(), value]);
  }
  const framed = bodyOf(headers, text.slice(end + 4), problems);
  if (!framed) return null;
  const [method, target] = line.split(' ');
  return { request: { method, target, headers, body: framed.body, problems }, rest: framed.rest };
}

// Keeps its connections open as long as the server in front wants them, so that bytes left over are read as one more request.
export function hearingHttp() {
  const backend = { bytes: '', heard: [] };
  return listen(backend, (socket) => {
    let text = '', told = false;
    socket.on('data', (bytes) => {
      backend.bytes += bytes.toString('latin1');
      text += bytes.toString('latin1');
      for (let one = requestOf(text); one; one = requestOf(text)) {
        text = one.rest;
        backend.heard.push(one.request);
        const close = one.request.problems.length > 0 || one.request.headers.some(([n, v]) => n === 'connection' && /close/i.test(v));
        const answer = `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${close ? 'Connection: close\r\n' : ''}\r\n${one.request.method === 'HEAD' ? '' : 'HEARD'}`;
        if (close) return socket.end(answer);
        socket.write(answer);
        told = false;
      }
      if (!told && /^Expect: 100-continue\r$/im.test(text) && text.includes('\r\n\r\n')) {
        socket.write('HTTP/1.1 100 Continue\r\n\r\n');
        told = true;
      }
    });
    socket.on('end', () => socket.end());
  });
}

// FCGI_PARAMS as [[name, value]…]; a name that is there twice is there twice.
function pairsOf(bytes) {
  const pairs = [];
  for (let at = 0; at < bytes.length;) {
    const sizes = [0, 0].map(() => {
      const long = bytes[at] & 0x80, size = long ? bytes.readUInt32BE(at) & 0x7fffffff : bytes[at];
      at += long ? 4 : 1;
      return size;
    });
    pairs.push(sizes.map((size) => bytes.toString('latin1', at, (at += size))));
  }
  return pairs;
}

// Also has the request's parameters as they came: `params`.
export function hearingFcgi() {
  const backend = { bytes: '', heard: [] };
  return listen(backend, (socket) => {
    let pending = Buffer.alloc(0), params = [], body = [], keep = false;
    socket.on('data', (bytes) => {
      backend.bytes += bytes.toString('latin1');
      pending = Buffer.concat([pending, bytes]);
      while (pending.length >= 8 && pending.length >= 8 + pending.readUInt16BE(4) + pending[6]) {
        const type = pending[1], content = pending.subarray(8, 8 + pending.readUInt16BE(4));
        pending = pending.subarray(8 + content.length + pending[6]);
        if (type === 1) [params, body, keep] = [[], [], (content[2] & 1) !== 0];
        else if (type === 4) params.push(content);
        else if (type === 5 && content.length) body.push(content);
        else if (type === 5) {
          const all = pairsOf(Buffer.concat(params)), one = (name) => all.find(([n]) => n === name)?.[1];
          const headers = all.flatMap(([n, v]) => (/^HTTP_/.test(n) ? [[n.slice(5).toLowerCase().replaceAll('_', '-'), v]] : []));
          const twice = all.map(([n]) => n).filter((n, i, names) => !n.startsWith('HTTP_') && names.indexOf(n) !== i);
          backend.heard.push({ method: one('REQUEST_METHOD'), target: one('REQUEST_URI'), headers, params: all,
            body: Buffer.concat(body).toString('latin1'), problems: twice.map((n) => `${n} is there twice`) });
          const answer = Buffer.concat([record(6, Buffer.from('Status: 200\r\nContent-Type: text/plain\r\n\r\nHEARD')), record(6, Buffer.alloc(0)),
            record(3, Buffer.alloc(8))]);
          if (keep) socket.write(answer);
          else socket.end(answer);
        }
      }
    });
    socket.on('end', () => socket.end());
  });
}
