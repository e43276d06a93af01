import { identityFile } from './layout.ts';

/**
 * The shell that becomes QEMU, in its working directory: `sh -c <this> <name> <boot file> <program> <arguments…>`.
 *
 * It opens the file of the serial console as descriptor 3, which QEMU is told to write to: so QEMU needs no right in the
 * run directory. And it writes who it is, since exec changes neither pid nor start time: nobody has to find out later.
 * One write: the file is empty or whole.
 */
export const launcher = `
exec 3>>"$1" || exit 125
shift
read -r boot </proc/sys/kernel/random/boot_id
read -r stat </proc/$$/stat
field20() { shift 19; start=$1; }
field20 \${stat##*) }
printf 'pid=%s\\nstart=%s\\nboot=%s\\n' "$$" "$start" "$boot" >${identityFile} || exit 125
exec "$@"
`;
export const bootDescriptor = 3;
