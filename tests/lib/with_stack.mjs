// with_stack.mjs SERVER COMMAND…: runs a command against a fresh stack behind SERVER, with demo.env in its environment, and
// stops the stack. STATE, PORT and SERVER are there too. Exit status: the command's; 1 when a process is left behind.
import { spawn } from 'node:child_process';
import { descendants, root, startStack } from './stack.mjs';

const [server, ...command] = process.argv.slice(2);
if (!server || command.length === 0) {
  console.error('usage: with_stack.mjs lighttpd|apache|nginx COMMAND…');
  process.exit(2);
}
const stack = await startStack({ server, env: { DEMO_TOKEN: 'test_token' } });
const run = spawn(command[0], command.slice(1), {
  cwd: root, stdio: 'inherit',
  env: { ...process.env, ...stack.demo, SERVER: server, STATE: stack.state, PORT: String(stack.port), DEMO_TOKEN: 'test_token' },
});
const status = await new Promise((done) => run.on('exit', (code) => done(code ?? 1)));
const pid = stack.child.pid;
await stack.stop();
const left = descendants(pid);
if (left.length) console.error('left behind:', left.map((p) => `${p.pid} ${p.command}`).join('\n'));
process.exit(left.length ? 1 : status);
