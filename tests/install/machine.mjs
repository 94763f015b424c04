// machine.mjs: a Debian 12 machine for a test: layers of folders, namespaces, and units.pl in the place of systemd.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root as source } from '../lib/stack.mjs';

const here = new URL('.', import.meta.url).pathname;
let base;

// Where the machines of this run lie; an overlay's folders have to be on a disk, not on a tmpfs or another overlay.
export function folder() {
  base ??= mkdtempSync('/var/tmp/tollgate-install-');
  return base;
}
export function removeFolder() {
  if (base) rmSync(base, { recursive: true, force: true });
}

export function debianRoot() {
  return execFileSync('sh', [join(here, 'root.sh')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();
}

export class Machine {
  // A machine over `lower` (a folder, or several with the topmost first).
  constructor(name, ...lower) {
    this.name = name;
    this.dir = join(folder(), name);
    this.lower = lower;
    for (const part of ['upper', 'work', 'root']) mkdirSync(join(this.dir, part), { recursive: true });
    this.place(join(here, 'units.pl'), '/usr/lib/units.pl');
    this.place(join(here, 'systemctl'), '/usr/bin/systemctl');
  }
  get layer() {
    return join(this.dir, 'upper');
  }
  // Before boot: puts a file of this machine into the other.
  place(from, to) {
    mkdirSync(join(this.layer, to, '..'), { recursive: true });
    cpSync(from, join(this.layer, to), { recursive: true });
  }
  // The source folder, as a clone of it would be.
  placeSource(to) {
    mkdirSync(join(this.layer, to), { recursive: true });
    const list = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: source });
    spawnSync('tar', ['-C', source, '--null', '-T', '-', '--ignore-failed-read', '-cf', join(this.dir, 'source.tar')], { input: list.stdout });
    execFileSync('tar', ['-C', join(this.layer, to), '--no-same-owner', '-xf', join(this.dir, 'source.tar')]);
  }
  async boot() {
    this.process = spawn('unshare', ['--mount', '--pid', '--net', '--uts', '--ipc', '--fork', '--kill-child',
      'sh', join(here, 'machine.sh'), this.lower.join(':'), this.dir], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => {
      this.process.stdout.on('data', (text) => String(text).includes('ready') && resolve());
      this.process.on('exit', (code) => reject(new Error(`the machine ${this.name} ended (${code})`)));
    });
    const { pid } = this.process;
    this.pid1 = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0];
  }
  async stop() {
    if (!this.process || this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.on('exit', resolve));
    this.process.removeAllListeners('exit');
    this.process.on('exit', () => 0);
    for (const unit of ['postgresql@15-main']) this.run(`systemctl stop ${unit} || true`);
    const gone = new Promise((resolve) => this.process.on('exit', resolve));
    this.process.kill('SIGKILL');
    await Promise.race([ended, gone]);
  }
  // Runs a script as root at a shell that logged in; → { status, stdout, stderr }.
  run(script, { timeout = 300000, cwd = '/root', input = '' } = {}) {
    const at = ['--target', this.pid1, '--mount', '--pid', '--net', '--uts', '--ipc', `--root=/proc/${this.pid1}/root`, `--wd=/proc/${this.pid1}/root${cwd}`];
    const r = spawnSync('nsenter', [...at, 'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'USER=root',
      'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive', 'bash', '--norc', '-euo', 'pipefail', '-c', script],
      { encoding: 'utf8', timeout, input, maxBuffer: 64 << 20 });
    this.said?.(script, r);
    return { status: r.status ?? -1, stdout: r.stdout, stderr: r.stderr };
  }
  must(script, options) {
    const r = this.run(script, options);
    if (r.status !== 0) throw new Error(`${this.name}: exit status ${r.status}\n${script}\n${r.stdout.slice(-3000)}\n${r.stderr.slice(-3000)}`);
    return r.stdout;
  }
  file(path) {
    for (const layer of [this.layer, ...this.lower]) if (existsSync(join(layer, path))) return join(layer, path);
    return undefined;
  }
  log(text) {
    writeFileSync(join(this.dir, 'log'), text, { flag: 'a' });
  }
}
