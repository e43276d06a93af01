import { identityFile } from './layout.ts';

/**
 * The shell that becomes QEMU, in its working directory: `sh -c <this> <name> <run directory> <program> <arguments…>`.
 *
 * It opens the files that QEMU is told to write to as descriptors, so that QEMU needs no right in the run directory. And
 * it writes who it is, since exec changes neither pid nor start time: nobody has to find out later. One write: the file
 * is empty or whole.
 */
const launch = (open: string) => `
${open} || exit 125
shift
read -r boot </proc/sys/kernel/random/boot_id
read -r stat </proc/$$/stat
field20() { shift 19; start=$1; }
field20 \${stat##*) }
printf 'pid=%s\\nstart=%s\\nboot=%s\\n' "$$" "$start" "$boot" >${identityFile} || exit 125
exec "$@"
`;

/** Descriptor of the serial console's file. */
export const bootDescriptor = 3;
export const launcher = launch(`exec ${bootDescriptor}>>"$1/boot"`);

/**
 * Of a simulation request: `stdout` and `stderr` of the run directory, to which this shell writes when it begins, become
 * those of the guest's commands, and QEMU's own words go to `qemu.log`.
 */
export const requestDescriptors = { stdout: 4, stderr: 5, report: 6, artifacts: 7 } as const;
const { stdout, stderr, report, artifacts } = requestDescriptors;
const requestFiles = `exec ${bootDescriptor}>>"$1/boot" ${stdout}>&1 ${stderr}>&2 ${report}>>"$1/report" ${artifacts}>>"$1/artifacts" >>"$1/qemu.log" 2>&1`;
export const requestLauncher = launch(requestFiles);

/** Descriptor of the memory that a kept machine goes on from. */
export const memoryDescriptor = 8;
/** @param path of that memory, from the machine's folder; of our own making, so it needs no quotes */
export const warmLauncher = (path: string): string =>
  launch(`${requestFiles} && exec ${memoryDescriptor}<${path}`);
