// machine.mjs: a Debian 12 machine for a test: layers of folders, namespaces, and units.pl in the place of systemd.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { root as source } from '../lib/stack.mjs';

const here = new URL('.', import.meta.url).pathname;
let base;

// Where the machines of this run lie; an overlay's folders have to be on a disk, not on a tmpfs or another overlay.
export function folder() {
  base ??= mkdtempSync(`/var/tmp/tollgate-install-${process.pid}-`);
  return base;
}
// This run's, and what a run that was killed left.
export function removeFolders() {
  for (const name of readdirSync('/var/tmp')) {
    const pid = /^tollgate-install-(\d+)-/.exec(name)?.[1];
    if (pid && (Number(pid) === process.pid || !existsSync(`/proc/${pid}`))) rmSync(join('/var/tmp', name), { recursive: true, force: true });
  }
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
    const all = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      { cwd: source, encoding: 'utf8' });
    const there = all.split('\0').filter((name) => name && existsSync(join(source, name))).join('\0');
    const packed = execFileSync('tar', ['-C', source, '--null', '-T', '-', '-c'], { input: there, maxBuffer: 256 << 20 });
    mkdirSync(join(this.layer, to), { recursive: true });
    execFileSync('tar', ['-C', join(this.layer, to), '--no-same-owner', '-x'], { input: packed });
  }
  // Ends with this process, whatever ends that; its mounts are its namespace's and go with it.
  async boot() {
    this.process = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--net', '--uts', '--ipc', '--fork', '--kill-child',
      'sh', join(here, 'machine.sh'), this.lower.join(':'), this.dir], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.ended = new Promise((resolve) => { this.process.on('exit', resolve); });
    await Promise.race([
      new Promise((resolve) => { this.process.stdout.on('data', (text) => String(text).includes('ready') && resolve()); }),
      this.ended.then((code) => { throw new Error(`the machine ${this.name} ended (${code})`); }),
    ]);
    const { pid } = this.process;
    this.pid1 = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0];
  }
  // As a power cut, but for the database, whose folder the next layer starts from.
  async stop() {
    if (!this.pid1) return;
    this.run('systemctl stop postgresql@15-main || true');
    this.process.kill('SIGKILL');
    await this.ended;
    while (existsSync(`/proc/${this.pid1}`)) await sleep(20);
    this.pid1 = undefined;
  }
  // Runs a script as root at a shell that logged in; → { status, stdout, stderr }.
  run(script, { timeout = 1500000, cwd = '/root', input = '' } = {}) {
    const at = ['--target', this.pid1, '--mount', '--pid', '--net', '--uts', '--ipc', `--root=/proc/${this.pid1}/root`, `--wd=/proc/${this.pid1}/root${cwd}`];
    const r = spawnSync('nsenter', [...at, 'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'USER=root',
      'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive', 'bash', '--norc', '-euo', 'pipefail', '-c', script],
      { encoding: 'utf8', timeout, input, maxBuffer: 64 << 20 });
    return { status: r.status ?? -1, stdout: r.stdout, stderr: r.stderr };
  }
  must(script, options) {
    const r = this.run(script, options);
    if (r.status !== 0) throw new Error(`${this.name}: exit status ${r.status}\n${script}\n${r.stdout.slice(-3000)}\n${r.stderr.slice(-3000)}`);
    return r.stdout;
  }
}
