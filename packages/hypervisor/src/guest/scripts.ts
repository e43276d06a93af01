/**
 * What the guest runs, for busybox's shell. Waiting is done by the kernel's own messages (`uevent`) rather than by
 * looking again and again: twenty idle guests must leave the host alone.
 */

/** What the kernel has not put into /dev: links and folders, which are made with one process instead of seven. */
export const deviceLinks: Readonly<Record<string, string>> = {
  fd: '/proc/self/fd',
  stdin: 'fd/0',
  stdout: 'fd/1',
  stderr: 'fd/2',
};
export const deviceFolders: readonly string[] = ['pts', 'shm', 'virtio-ports'];

/** Mounted with one process. */
export const fstab = `proc /proc proc
sysfs /sys sysfs
devpts /dev/pts devpts
tmpfs /tmp tmpfs
tmpfs /run tmpfs
`;

/** Process 1. Where the shell can do it by itself no program is started: without KVM, each takes 20 ms. */
export const init = `#!/bin/sh
export PATH=/bin HOME=/root TERM=linux
mount -t devtmpfs devtmpfs /dev
cp -a /etc/dev/. /dev
mount -a

net=on
run=
ignore_powerdown=
request=
runner=
login=
read -r words < /proc/cmdline
for word in $words; do
  case "$word" in
    vmo.net=off) net=off ;;
    vmo.ignore_powerdown) ignore_powerdown=yes ;;
    vmo.request) request=yes ;;
    vmo.no_runner) runner=no ;;
    vmo.login=*) login="\${word#vmo.login=}" ;;
    vmo.run=*) run="\${word#vmo.run=}" ;;
  esac
done
echo $net > /run/net
echo guest > /proc/sys/kernel/hostname

# What virtio-mem brings is used at once, and can be taken away again.
echo online_movable > /sys/devices/system/memory/auto_online_blocks 2> /dev/null
modprobe -qa virtio_pci button evdev
# Machines without PCI show their devices through ACPI.
for device in /sys/bus/acpi/devices/LNRO0005:*; do
  [ -e "$device" ] && modprobe -q virtio_mmio
  break
done
# For all devices at once, rather than for each that tells of itself.
load() {
  wanted=
  for device in /sys/bus/virtio/devices/*/modalias; do
    read -r name < "$device" && wanted="$wanted $name"
  done 2> /dev/null
  [ "$wanted" = "$loaded" ] || modprobe -qa $wanted
  loaded="$wanted"
}
loaded=
load
uevent /etc/hotplug > /dev/null 2>&1 &
ip link set lo up
[ -n "$ignore_powerdown" ] || acpid -l /run/acpid.log -p /run/acpid.pid
[ -z "$request" ] || modprobe -q pvpanic_pci &

# What came before anybody listened; from then on, none is missed. 15 is the kernel's messages about devices.
listens() {
  while read -r socket protocol process groups rest; do
    [ "$protocol" != 15 ] || [ "$groups" = 00000000 ] || return 0
  done < /proc/net/netlink
  return 1
}
tries=0
until listens || [ $((tries += 1)) -gt 100 ]; do sleep 0.02; done
load
ACTION=add
for device in /sys/class/virtio-ports/vport* /sys/class/net/eth*; do
  [ -e "$device" ] || continue
  DEVPATH="\${device#/sys}"
  SUBSYSTEM="\${DEVPATH%/*}"
  SUBSYSTEM="\${SUBSYSTEM##*/}"
  (. /etc/hotplug)
done

read -r up rest < /proc/uptime
echo "vmo-guest ready: $(uname -srm), up $up s"
[ -z "$login" ] || sed -i "s|^root:x:|root:$login:|" /etc/passwd
[ ! -x /bin/take-seed ] || take-seed &
[ -z "$request" ] || [ -n "$runner" ] || setsid vmo-runner --wait < /dev/null > /dev/console 2>&1 &
if [ -n "$run" ]; then
  echo "$run" | base64 -d > /run/command
  sh /run/command
fi
# What poweroff, halt and reboot send; waiting for the shell can be interrupted by it.
trap 'exec /bin/busybox poweroff -f' USR2
trap 'exec /bin/busybox halt -f' USR1
trap 'exec /bin/busybox reboot -f' TERM
export PS1='vmo:\\w# '
shell=sh
[ -z "$login" ] || shell=login
cd /root
while :; do
  setsid cttyhack $shell < /dev/console > /dev/console 2>&1 &
  wait $!
done
`;

/** Told of every device that comes or changes; safe to be told twice. */
export const hotplug = `#!/bin/sh
export PATH=/bin
[ "$ACTION" = add ] && [ -n "$MODALIAS" ] && modprobe -q "$MODALIAS"
name="\${DEVPATH##*/}"
case "$SUBSYSTEM:$ACTION" in
  cpu:add)
    echo 1 > "/sys$DEVPATH/online"
    ;;
  net:add)
    read -r net < /run/net
    [ "$net" = on ] && [ "$name" != lo ] && mkdir "/run/net.$name" 2> /dev/null || exit 0
    ip link set "$name" up
    udhcpc -b -S -i "$name" -p "/run/udhcpc.$name" -s /etc/udhcpc > /dev/null 2>&1
    ;;
  net:remove)
    rmdir "/run/net.$name"
    ;;
  virtio-ports:add | virtio-ports:change)
    # The name comes a moment after the port, with the second message.
    node="$name"
    read -r name < "/sys$DEVPATH/name" || exit 0
    port=/dev/virtio-ports/$name
    # Told twice, it stays as it is: whoever opens it in between would find nothing there.
    ln -s "../$node" "$port" 2> /dev/null
    [ "$name" = org.qemu.guest_agent.0 ] && [ -x /bin/qemu-ga ] && mkdir /run/agent 2> /dev/null || exit 0
    qemu-ga -d -m virtio-serial -p "$port" -t /run -f /run/qemu-ga.pid -l /run/qemu-ga.log
    ;;
esac
`;

/** The power button. Without -f it would ask process 1, which may be busy with a command. */
export const powerButton = `#!/bin/sh
exec /bin/busybox poweroff -f
`;

/** Called by busybox's DHCP client. */
export const udhcpc = `#!/bin/sh
export PATH=/bin
case "$1" in
  deconfig) ip addr flush dev "$interface" ;;
  bound | renew)
    ip addr add "$ip/\${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route add default via "$router" dev "$interface"
    for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
    ;;
esac
`;

/** What the guest agent calls; busybox has none. */
export const shutdown = `#!/bin/sh
for word in "$@"; do
  case "$word" in
    -r) exec /bin/busybox reboot -f ;;
    -H) exec /bin/busybox halt -f ;;
  esac
done
exec /bin/busybox poweroff -f
`;

export const osRelease = `ID=vmo-guest
NAME="vmo small guest"
PRETTY_NAME="vmo small guest"
`;

/** What cloud-init does with a seed, as far as it is needed to log in; then sshd. */
export const takeSeed = `#!/bin/sh
export PATH=/bin
modprobe -q isofs
mkdir -p /run/seed /root/.ssh /run/sshd
for disk in /dev/vd?; do
  mount -t iso9660 -o ro "$disk" /run/seed 2> /dev/null || continue
  [ -r /run/seed/meta-data ] || continue
  sed -n 's/.*"ssh_authorized_keys":\\["\\([^"]*\\)"\\].*/\\1/p' /run/seed/user-data > /root/.ssh/authorized_keys
done
chmod 600 /etc/ssh/host-key
chmod 700 /root/.ssh /run/sshd
exec /bin/sshd -f /etc/ssh/sshd_config
`;

export const sshdConfig = `HostKey /etc/ssh/host-key
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
`;
