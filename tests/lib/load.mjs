// load.mjs: many calls over many connections, each with a number of its own in its path, so that what was answered can
// be compared with what is stored, one by one. Bounded in count and time; talks to 127.0.0.1 only.
import { connect } from 'node:net';

/*
 * Sends calls number `from`, from + 1, … until `count` are sent or stop() is called, over `connections` connections.
 * path(n) gives the path of call n. Resolves to
 *   {answers: Map number → {status, headers, body?, ms}, unanswered: Set of numbers sent and not answered}.
 * A connection that breaks counts its call as unanswered and is opened anew (a killed server is expected here).
 */
export function startLoad({ port, key, count, from = 0, connections = 64, path, headers = {}, seconds = 120, keepBody = false,
  method = 'GET', pauseMs = 0 }) {
  const answers = new Map();
  const unanswered = new Set();
  const deadline = Date.now() + seconds * 1000;
  let next = from, stopped = false, admitted = 0, failedConnects = 0;
  const last = from + count;
  const extra = Object.entries({ ...(key ? { authorization: `Bearer ${key}` } : {}), ...headers })
    .map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const more = () => !stopped && next < last && Date.now() < deadline;

  const worker = () => new Promise((done) => {
    let socket = null, pending = Buffer.alloc(0), current = -1, started = 0, finished = false;
    const end = () => { if (!finished) { finished = true; socket?.destroy(); done(); } };
    const broken = () => {
      if (current >= 0) { unanswered.add(current); current = -1; }
      if (finished) return;
      if (!more()) return end();
      setTimeout(open, 20);
    };
    const send = () => {
      if (!more()) return end();
      current = next++;
      started = performance.now();
      socket.write(`${method} ${path(current)} HTTP/1.1\r\nHost: 127.0.0.1\r\n${extra}\r\n`);
    };
    const take = () => {
      const head = pending.indexOf('\r\n\r\n');
      if (head < 0) return false;
      const text = pending.toString('latin1', 0, head);
      const status = Number(text.slice(9, 12));
      const found = {};
      for (const line of text.split('\r\n').slice(1)) {
        const colon = line.indexOf(':');
        found[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
      }
      let body, used;
      if (found['transfer-encoding'] === 'chunked') {
        let at = head + 4; const parts = [];
        for (;;) {
          const eol = pending.indexOf('\r\n', at);
          if (eol < 0) return false;
          const size = parseInt(pending.toString('latin1', at, eol), 16);
          if (pending.length < eol + 2 + size + 2) return false;
          parts.push(pending.subarray(eol + 2, eol + 2 + size));
          at = eol + 2 + size + 2;
          if (size === 0) break;
        }
        body = Buffer.concat(parts); used = at;
      } else {
        const size = Number(found['content-length'] ?? 0);
        if (pending.length < head + 4 + size) return false;
        body = pending.subarray(head + 4, head + 4 + size); used = head + 4 + size;
      }
      if (status >= 200 && status < 300) admitted++;
      answers.set(current, { status, headers: found, ms: performance.now() - started,
        ...(keepBody ? { body: body.toString('utf8') } : {}) });
      current = -1;
      pending = pending.subarray(used);
      if (found.connection === 'close') { socket.destroy(); return true; }
      // a connection that breaks in the pause opens a new one, which sends by itself
      const mine = socket;
      if (pauseMs) setTimeout(() => { if (mine === socket && !mine.destroyed) send(); }, pauseMs); else send();
      return true;
    };
    const open = () => {
      if (!more()) return end();
      pending = Buffer.alloc(0);
      socket = connect(port, '127.0.0.1');
      socket.setNoDelay(true);
      socket.setTimeout(30000, () => socket.destroy());
      let closed = false, connected = false;
      const close = () => {
        if (closed) return;
        closed = true;
        if (!connected) failedConnects++;
        broken();
      };
      socket.on('connect', () => { connected = true; send(); });
      socket.on('data', (bytes) => { pending = Buffer.concat([pending, bytes]); take(); });
      socket.on('error', close);
      socket.on('close', close);
    };
    open();
  });

  const finished = Promise.all(Array.from({ length: connections }, worker)).then(() => ({ answers, unanswered }));
  return { finished, stop() { stopped = true; }, answers, unanswered, get sent() { return next - from; },
    get admitted() { return admitted; }, get failedConnects() { return failedConnects; } };
}

export const load = (options) => startLoad(options).finished;

export function byStatus(answers) {
  const out = {};
  for (const { status } of answers.values()) out[status] = (out[status] ?? 0) + 1;
  return out;
}

export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
}
