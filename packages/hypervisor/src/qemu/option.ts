type Value = string | number | boolean;

/**
 * One value of QEMU's command line that is itself a list of options, `kind,name=value,…`. Every one is built here:
 * a comma in a value is doubled, as QEMU wants it, so that no value becomes an option.
 * @param kind the first member, whose name QEMU implies; null: there is none
 */
export function option(kind: string | null, members: Readonly<Record<string, Value>> = {}): string {
  const words = Object.entries(members).map(([name, value]) => `${name}=${escape(spell(value))}`);
  return [...(kind === null ? [] : [escape(kind)]), ...words].join(',');
}

const spell = (value: Value): string => (typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value));
const escape = (text: string): string => text.replaceAll(',', ',,');
