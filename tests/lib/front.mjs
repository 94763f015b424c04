// front.mjs: a web server of a test's own in front of the running stack's gate, with the configuration that `tollgate config` makes and
// with what a test puts beside it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, freePort, root } from './stack.mjs';

const user = process.getuid() === 0;
const builders = {
  lighttpd: (dir, confs, port, a) => `
server.bind = "127.0.0.1"
server.port = ${port}
server.document-root = "${dir}/htdocs"
server.errorlog = "${dir}/error.log"
${user ? 'server.username = "www-data"\nserver.groupname = "www-data"' : ''}
${a.before?.includes('server.modules =') ? '' : 'server.modules = ( "mod_access" )'}
mimetype.assign = ( ".txt" => "text/plain" )
${a.before ?? ''}
${confs.one}
${a.behind ?? ''}
`,
  apache: (dir, confs, port, a) => `
ServerRoot "${dir}"
ServerName 127.0.0.1
PidFile "${dir}/apache.pid"
DefaultRuntimeDir "${dir}"
Mutex pthread default
Listen 127.0.0.1:${port}
${user ? 'User www-data\nGroup www-data' : ''}
${['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'authz_host', 'access_compat', 'authnz_fcgi', 'proxy', 'proxy_fcgi', 'proxy_http', 'headers', 'lua', 'rewrite', 'alias',
    'mime', 'remoteip', 'reqtimeout', 'setenvif', 'cgid', 'env'].map((m) => `LoadModule ${m}_module /usr/lib/apache2/modules/mod_${m}.so`).join('\n')}
ScriptSock "${dir}/cgid.sock"
TypesConfig /etc/mime.types
ErrorLog "${dir}/error.log"
DocumentRoot "${dir}/htdocs"
<Directory "${dir}/htdocs">
  Require all granted
</Directory>
${a.server ?? ''}
${confs.server}
<VirtualHost *>
${a.before ?? ''}
${confs.vhost}
${a.behind ?? ''}
</VirtualHost>
`,
  nginx: (dir, confs, port, a) => `
pid "${dir}/nginx.pid";
error_log "${dir}/error.log" warn;
${user ? 'user www-data;' : ''}
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path "${dir}/body"; proxy_temp_path "${dir}/proxy"; fastcgi_temp_path "${dir}/fastcgi"; scgi_temp_path "${dir}/scgi"; uwsgi_temp_path "${dir}/uwsgi";
${confs.http}
${a.http ?? ''}
  server {
    listen 127.0.0.1:${port};
    root "${dir}/htdocs";
${confs.server}
${a.behind ?? ''}
  }
}
`,
};

// A whole answer, "" when there is none; `target` is sent byte by byte as it is.
export function send(port, target, headers = []) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setTimeout(10000, () => socket.destroy());
    socket.on('data', (bytes) => { text += bytes.toString('latin1'); });
    socket.on('error', () => {});
    socket.on('close', () => done(text));
    socket.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n`, 'latin1'));
  });
}


// Ready to start servers of this kind. `edit` changes the stack's tollgate.conf, of which their configuration is made.
export function makeFront({ server, program, edit = (text) => text }) {
  const dir = mkdtempSync(join(tmpdir(), 'tg-front-')), file = join(dir, 'server.conf'), errors = join(dir, 'error.log');
  const commands = {
    lighttpd: ['/usr/sbin/lighttpd', '-D', '-f', file],
    apache: ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', file],
    nginx: ['/usr/sbin/nginx', '-e', errors, '-g', 'daemon off;', '-c', file],
  };
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, 'htdocs'));
  const conf = readFileSync(/--config '?([^' ]+)/.exec(readFileSync(program, 'utf8'))[1], 'utf8').replace(/^share_dir = .*$/m, `share_dir = ${root}`);
  const edited = edit(conf, dir);
  writeFileSync(join(dir, 'tollgate.conf'), edited);
  const print = (...words) => execFileSync(join(root, 'build/release/tollgate'), ['--config', join(dir, 'tollgate.conf'), 'config', ...words], { encoding: 'utf8' });
  const confs = server === 'lighttpd' ? { one: print('lighttpd') }
    : server === 'apache' ? { server: print('apache', 'server'), vhost: print('apache', 'vhost') }
      : { http: print('nginx', 'http'), server: print('nginx', 'server') };
  return {
    dir,
    conf: edited,
    // Starts it with additions ({before, behind, server, http}, as tests/adversary/additions.mjs describes them).
    async start(additions = {}) {
      const port = await freePort();
      writeFileSync(file, builders[server](dir, confs, port, additions));
      writeFileSync(errors, '');
      chmodSync(errors, 0o666);
      const [command, ...words] = commands[server];
      const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      for (const out of [child.stdout, child.stderr]) out.on('data', (b) => { said += b; });
      const ended = () => child.exitCode !== null || child.signalCode !== null;
      const stop = async () => {
        child.kill(server === 'nginx' ? 'SIGQUIT' : 'SIGTERM');
        await eventually(ended, 'its end').catch(() => child.kill('SIGKILL'));
      };
      try {
        await eventually(async () => ended() || (await send(port, '/')).startsWith('HTTP'), () => `the server: ${said}`);
        assert.ok(!ended(), `${said}${readFileSync(errors, 'utf8')}`);
      } catch (e) {
        await stop();
        throw e;
      }
      return { port, stop, errors: () => readFileSync(errors, 'utf8') };
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

// A back end that speaks no protocol but writes every byte down in `bytes`, and answers what looks like HTTP.
export async function writingBackend() {
  const backend = { bytes: '' };
  const listener = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      backend.bytes += text;
      if (/^[A-Z]/.test(text)) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved');
      else socket.end();
    });
  });
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  backend.port = listener.address().port;
  backend.close = () => listener.close();
  return backend;
}
