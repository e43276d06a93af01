import type { RequestChannel } from '@vmo/contract';

/** As root, or as whoever may become root without being asked. */
export const asRoot = '$([ "$(id -u)" = 0 ] || echo sudo -n)';

/** A shell's command that takes the runner from its standard input and starts it, for nobody who stays. */
export function startScript(by: RequestChannel, afterSeconds: number): string {
  const script = '/tmp/vmo-script.$$';
  return [
    `cat >${script}`,
    ...(afterSeconds > 0 ? [`sleep ${afterSeconds}`] : []),
    `${asRoot} true`,
    `{ ${asRoot} setsid sh ${script} --by-${by} </dev/null >/dev/null 2>&1 & }`,
  ].join(' && ');
}
