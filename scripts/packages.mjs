/**
 * Looks for the programs that the tests run for real (a browser, sshd, make …). As root on Debian or Ubuntu it
 * installs what is missing; elsewhere it says in one line what to install, and stops.
 *
 * Plain JavaScript without packages, because node-pty, which needs some of these, is compiled only afterwards.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** Debian package → the programs it is needed for; one of several names is enough. */
const needed = {
  chromium: ['chromium', 'chromium-browser', 'google-chrome'],
  'openssh-server': ['sshd'],
  'openssh-client': ['ssh', 'ssh-keygen'],
  make: ['make'],
  'g++': ['g++'],
  gcc: ['gcc'],
  python3: ['python3'],
  procps: ['ps', 'top'],
  iproute2: ['ip', 'ss'],
  'vim-tiny': ['vi'],
  git: ['git'],
  'qemu-system-x86': ['qemu-system-x86_64'],
  'qemu-utils': ['qemu-img', 'qemu-io'],
  'qemu-guest-agent': ['qemu-ga'],
  'busybox-static': ['busybox'],
  'xz-utils': ['xz'],
  zstd: ['zstd'],
  lz4: ['lz4'],
  'util-linux': ['fallocate'],
  // The kernel of the small guest that the tests boot: see below.
  'linux-image-cloud-amd64': [],
};
/** Here a package's programs are other names for the same thing, rather than all wanted. */
const alternatives = new Set(['chromium']);

// sbin is not on everybody's PATH, and sshd is there.
const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
const has = (program) => folders.some((folder) => fs.existsSync(path.join(folder, program)));
const isKernel = (file) => /^vmlinuz-.*-cloud-amd64$/.test(file);
const hasKernel = () => fs.existsSync('/boot') && fs.readdirSync('/boot').some(isKernel);
function isThere([name, programs]) {
  if (name === 'linux-image-cloud-amd64') return hasKernel();
  return alternatives.has(name) ? programs.some(has) : programs.every(has);
}

const missing = Object.entries(needed)
  .filter((entry) => !isThere(entry))
  .map(([name]) => name);

if (missing.length > 0) {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !has('apt-get')) {
    const how = has('apt-get')
      ? `: sudo apt-get install -y --no-install-recommends ${missing.join(' ')}`
      : '.';
    process.stderr.write(
      `vmo: the tests need programs that are missing here (${missing.join(', ')})${how}\n`,
    );
    process.exit(1);
  }
  process.stderr.write(`vmo: installing what the tests run for real: ${missing.join(', ')} …\n`);
  install();
}

function install() {
  // Debian starts a service when its package comes: an SSH server that nobody asked for must not start listening.
  const policy = '/usr/sbin/policy-rc.d';
  const own = !fs.existsSync(policy);
  if (own) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const fonts = missing.includes('chromium') ? ['fonts-liberation'] : [];
    apt(['update']);
    apt(['install', '-y', '--no-install-recommends', ...missing, ...fonts]);
  } finally {
    if (own) fs.rmSync(policy, { force: true });
  }
}

function apt(args) {
  const { status, stdout, stderr, error } = spawnSync('apt-get', ['-q', ...args], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status === 0) return;
  process.stderr.write(`${stdout}${stderr}${error ?? ''}\nvmo: apt-get ${args.join(' ')} failed.\n`);
  // Not process.exit: the policy file above must be taken away first.
  throw new Error('the packages for the tests could not be installed');
}
