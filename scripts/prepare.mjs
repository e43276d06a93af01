/**
 * Brings a clone into a state in which it can run: packages installed, web UI built. Each is done only when its
 * inputs changed since the last time, so that a second start costs a few hashes. Several starts at once wait for
 * one another, and an interrupted one leaves nothing that looks finished.
 *
 * Plain JavaScript without packages, because it runs before there are any, and on whichever Node there is.
 * `--no-web` leaves the web UI alone.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const at = (...parts) => path.join(root, ...parts);

const cache = at('.cache');
const lockFile = at('.cache', 'prepare.lock');
/** There while `npm ci` runs: whatever it left behind when it did not end is not trusted. */
const installing = at('.cache', 'installing');
const installStamp = at('node_modules', '.vmo-installed');
const webBuild = at('apps', 'web', 'build');
const webStamp = at('apps', 'web', 'build', '.vmo-built');

const wantsWeb = !process.argv.includes('--no-web');
let child;
let lockHeld = false;

const say = (line) => process.stderr.write(`vmo: ${line}\n`);

/** Ends the preparation with lines a person can act on; no stack trace. */
class Stop extends Error {}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function installKey() {
  return createHash('sha256')
    .update(`${process.platform} ${process.arch}\n`)
    .update(fs.readFileSync(at('package-lock.json')))
    .digest('hex');
}

const isInstalled = (key) => read(installStamp) === key && !fs.existsSync(installing);

/** Whether what npm last installed is what the lock file asks for: true after an `npm install` by hand. */
function matchesLock() {
  const hidden = read(at('node_modules', '.package-lock.json'));
  if (hidden === undefined || fs.existsSync(installing)) return false;
  try {
    const wanted = JSON.parse(read(at('package-lock.json'))).packages;
    const present = JSON.parse(hidden).packages;
    for (const name of Object.keys(wanted)) {
      if (!name.includes('node_modules/')) continue;
      const want = wanted[name];
      const have = present[name];
      if (have === undefined ? want.optional !== true : have.version !== want.version) return false;
    }
    for (const name of Object.keys(present)) {
      if (name.includes('node_modules/') && wanted[name] === undefined) return false;
    }
  } catch {
    return false;
  }
  return hasTerminalLibrary();
}

/** node-pty is the one package that is compiled (or brings a ready binary for this platform). */
function hasTerminalLibrary() {
  const home = at('node_modules', 'node-pty');
  return (
    fs.existsSync(path.join(home, 'build', 'Release', 'pty.node')) ||
    fs.existsSync(path.join(home, 'prebuilds', `${process.platform}-${process.arch}`, 'pty.node'))
  );
}

function onPath(program) {
  return (process.env.PATH ?? '').split(path.delimiter).some((folder) => {
    try {
      fs.accessSync(path.join(folder, program), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function checkToolchain() {
  if (process.platform !== 'linux') return;
  const missing = [];
  if (!onPath('python3')) missing.push('python3');
  if (!onPath('make')) missing.push('make');
  if (!onPath('g++') && !onPath('c++') && !onPath('clang++')) missing.push('g++');
  if (missing.length === 0) return;
  throw new Stop(
    `the terminal library (node-pty) is compiled here, and that needs ${missing.join(', ')}: ` +
      `install it first (Debian, Ubuntu: apt-get install -y ${missing.join(' ')}).`,
  );
}

/** The environment for tools of ours: a start by `npm --prefix`, `-w`, `--silent` … must not steer them. */
function toolEnvironment() {
  const env = { ...process.env };
  const steering =
    /^npm_(lifecycle_|package_|command$|config_(prefix|local_prefix|global|global_prefix|workspaces?|include_workspace_root|if_present|ignore_scripts|loglevel|json|dry_run|omit|include|only|production|package_lock|package_lock_only)$)/i;
  for (const name of Object.keys(env)) if (steering.test(name)) delete env[name];
  delete env.NODE_ENV;
  delete env.NODE_OPTIONS;
  return env;
}

/**
 * The headers that came with this Node: nothing to download, and no foreign ones from a person's `.npmrc`. node-gyp
 * cannot do with a space in their path, so that they are reached by a link without one.
 * @returns what node-gyp calls nodedir, if there is one, and a function that takes the link away
 */
function findHeaders() {
  const home = path.resolve(path.dirname(process.execPath), '..');
  if (!fs.existsSync(path.join(home, 'include', 'node', 'node_api.h'))) return { env: {}, release() {} };
  if (!/\s/.test(home)) return { env: { npm_config_nodedir: home }, release() {} };
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'vmo-'));
  const link = path.join(folder, 'node');
  fs.symlinkSync(home, link);
  return {
    env: { npm_config_nodedir: link },
    release: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

/** What a tool said, without npm's usage text, and of a long text its beginning and its end: causes stand there. */
function essence(text) {
  const lines = text.trimEnd().split('\n');
  const usage = lines.findIndex((line) => line.startsWith('npm error Usage:'));
  const telling = usage === -1 ? lines : [...lines.slice(0, usage), ...lines.slice(-1)];
  return telling.length <= 80
    ? telling.join('\n')
    : [...telling.slice(0, 40), `… ${telling.length - 80} lines …`, ...telling.slice(-40)].join('\n');
}

/** Runs a program quietly; what it said is shown only when it fails. */
function run(program, args, { cwd, problem, env = {} }) {
  return new Promise((resolve, reject) => {
    const output = [];
    child = spawn(program, args, {
      cwd,
      env: { ...toolEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.on('data', (bytes) => output.push(bytes));
    child.stderr.on('data', (bytes) => output.push(bytes));
    child.on('error', (error) => reject(new Stop(`${problem}: ${error.message}`)));
    child.on('close', (code, signal) => {
      child = undefined;
      if (code === 0) return resolve();
      const said = essence(Buffer.concat(output).toString());
      reject(new Stop(`${said}\nvmo: ${problem} (${signal ?? `exit ${code}`}; its words are above).`));
    });
  });
}

async function install(key) {
  if (matchesLock()) {
    fs.writeFileSync(installStamp, key);
    return;
  }
  checkToolchain();
  const first = !fs.existsSync(at('node_modules'));
  say(
    `installing packages (${first ? 'first start' : 'package-lock.json changed'}): ` +
      'they are downloaded and the terminal library is compiled, about a minute …',
  );
  const began = Date.now();
  fs.writeFileSync(installing, '');
  // What a person's npm settings may turn off or rearrange, but this project needs, is stated here.
  const args = [
    'ci',
    '--include=dev',
    '--include=optional',
    '--ignore-scripts=false',
    '--install-strategy=hoisted',
  ];
  args.push('--no-audit', '--no-fund', '--loglevel=error');
  const cli = process.env.npm_execpath;
  const direct = cli !== undefined && path.basename(cli) === 'npm-cli.js' && fs.existsSync(cli);
  const headers = findHeaders();
  try {
    await run(direct ? process.execPath : 'npm', direct ? [cli, ...args] : args, {
      cwd: root,
      problem: 'installing the packages failed',
      env: headers.env,
    });
  } finally {
    headers.release();
  }
  if (!hasTerminalLibrary()) throw new Stop('npm installed the packages without compiling node-pty.');
  fs.writeFileSync(installStamp, key);
  fs.rmSync(installing, { force: true });
  say(`packages installed in ${seconds(began)}.`);
}

const notSources = new Set(['node_modules', 'build', '.svelte-kit', 'coverage', 'test-results']);

/** Every source of the web UI, in a fixed order. */
function* webSources(folder) {
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (notSources.has(entry.name) || entry.name.includes('.test.')) continue;
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* webSources(file);
    else if (entry.isFile()) yield file;
  }
}

function webKey() {
  const hash = createHash('sha256').update(installKey());
  for (const folder of ['apps/web', 'packages/contract', 'packages/client']) {
    for (const file of webSources(at(folder))) {
      hash.update(`\n${path.relative(root, file)}\n`).update(fs.readFileSync(file));
    }
  }
  return hash.digest('hex');
}

async function buildWeb(key) {
  say(`building the web UI (${fs.existsSync(webBuild) ? 'its sources changed' : 'first start'}) …`);
  const began = Date.now();
  fs.rmSync(webStamp, { force: true });
  await run(process.execPath, [at('node_modules', 'vite', 'bin', 'vite.js'), 'build'], {
    cwd: at('apps', 'web'),
    problem: 'building the web UI failed',
  });
  fs.writeFileSync(webStamp, key);
  say(`web UI built in ${seconds(began)}.`);
}

const seconds = (began) => `${((Date.now() - began) / 1000).toFixed(1)} s`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

const heartbeatMs = 2_000;
/** Much more than a heartbeat, so that a busy machine is not taken for a dead one. */
const silentMs = 20_000;

/**
 * One preparation at a time. The holder touches the lock file every two seconds; it is taken over when its process
 * is gone or has been silent for long. Taking over happens under a second file, so that two waiters cannot both do it.
 */
async function lock() {
  fs.mkdirSync(cache, { recursive: true });
  let told = false;
  let seen;
  let seenSince = 0;
  while (!lockHeld) {
    try {
      fs.writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      lockHeld = true;
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    let state;
    let pid;
    try {
      pid = Number(fs.readFileSync(lockFile, 'utf8'));
      state = `${pid} ${fs.statSync(lockFile).mtimeMs}`;
    } catch {
      continue;
    }
    const now = performance.now();
    if (state !== seen) {
      seen = state;
      seenSince = now;
    }
    // A file without a number is one that is being written just now, unless it stays so.
    if ((pid > 0 && !isAlive(pid)) || now - seenSince > silentMs) {
      takeOver(state);
      continue;
    }
    if (!told) {
      say(`another start is preparing this clone (process ${pid}); waiting for it …`);
      told = true;
    }
    await pause(200);
  }
  setInterval(() => fs.utimesSync(lockFile, new Date(), new Date()), heartbeatMs).unref();
}

function takeOver(state) {
  const guard = `${lockFile}.takeover`;
  try {
    fs.writeFileSync(guard, '', { flag: 'wx' });
  } catch {
    // Held for microseconds only: an old one belongs to a process that died in between.
    const age = Date.now() - (fs.statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > silentMs) fs.rmSync(guard, { force: true });
    return;
  }
  try {
    if (`${Number(read(lockFile))} ${fs.statSync(lockFile, { throwIfNoEntry: false })?.mtimeMs}` === state) {
      fs.rmSync(lockFile);
    }
  } finally {
    fs.rmSync(guard, { force: true });
  }
}

function unlock() {
  if (!lockHeld) return;
  lockHeld = false;
  fs.rmSync(lockFile, { force: true });
}

/** Ends with the program it works for: nobody would see its result. */
function endWithParent() {
  const parent = process.ppid;
  const end = () => {
    child?.kill();
    unlock();
    process.exit(130);
  };
  setInterval(() => process.ppid !== parent && end(), 500).unref();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end);
}

async function prepare() {
  const ready = () => isInstalled(installKey()) && (!wantsWeb || read(webStamp) === webKey());
  if (ready()) return;
  endWithParent();
  await lock();
  try {
    const key = installKey();
    if (!isInstalled(key)) await install(key);
    if (wantsWeb) {
      const sources = webKey();
      if (read(webStamp) !== sources) await buildWeb(sources);
    }
  } finally {
    unlock();
  }
}

try {
  await prepare();
  process.exit(0);
} catch (error) {
  unlock();
  process.stderr.write(
    error instanceof Stop ? `${error.message.replace(/^(?!.*\nvmo:)/s, 'vmo: ')}\n` : `${error.stack}\n`,
  );
  process.exit(1);
}
