import { MachineSpec, type RunPlan } from '@vmo/contract';
import { StartError, type Run, type RunSpec, type Strategy } from '@vmo/execution';
import { writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DriverError, type Driver, type LadderTimes } from './driver.ts';
import { rungWords } from './qemu/words.ts';
import { RequestRun } from './request/run.ts';
import { writeWarmStart } from './request/warm-start.ts';
import { within } from './within.ts';

export interface VmRunOptions {
  driver: Driver;
  /** Runs the machine's process as it would any command: detached, recorded, found again, and swept at the end. */
  local: Strategy;
}

/** From the end of a machine's process to that of its run. */
const recordMs = 5_000;

/** One argument of a shell's command, whatever is in it. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** How a stop that may take so long divides its time: nothing of it is used up by a rung that ends the machine. */
const shares: LadderTimes = { guestAgent: 0.3, acpi: 0.5, quit: 0.1, sigterm: 0.1 };
const ladderWithin = (ms: number): LadderTimes => ({
  guestAgent: ms * shares.guestAgent,
  acpi: ms * shares.acpi,
  quit: ms * shares.quit,
  sigterm: ms * shares.sigterm,
});

/**
 * Runs machines as jobs of type `vm`: `stdout` and `stderr` of the run directory are the hypervisor's own words, `boot`
 * is the serial console from the first byte. Those of a machine that is thrown away are what is run in it.
 */
export function createVmRunStrategy({ driver, local }: VmRunOptions): Strategy {
  function follow(spec: RunSpec, machine: MachineSpec, plan: RunPlan | null, run: Run): Run {
    const { id, request } = machine;
    if (!request || !plan || !spec.request) return wrap(driver, id, run);
    return new RequestRun({ id, request, spec, link: spec.request, plan, driver, run });
  }

  return {
    type: 'vm',

    async start(spec) {
      const machine = readSpec(spec);
      const plan = await planOf(spec, machine);
      const prepared = await driver
        .prepare(machine, { runDirectory: spec.directory })
        .catch((error: unknown) => {
          if (error instanceof DriverError) throw new StartError(error.message, { cause: error });
          throw error;
        });
      if (driver.dryRun) throw new StartError(`dry run: would start ${prepared.shown.map(quote).join(' ')}`);
      // Made here, so that whoever ships the spool finds it, however the start goes on.
      mkdirSync(spec.directory, { recursive: true, mode: 0o700 });
      writeFileSync(join(spec.directory, 'boot'), '', { flag: 'a', mode: 0o600 });
      if (prepared.warm) writeWarmStart(spec.directory, prepared.warm);
      const inner = {
        ...spec,
        command: `exec ${prepared.argv.map(quote).join(' ')}`,
        cwd: prepared.directory,
        env: prepared.environment,
      };
      try {
        return follow(spec, machine, plan, await local.start(inner));
      } catch (error) {
        await driver.release(machine.id);
        if (machine.request) await driver.discard(machine.id, false);
        throw error;
      }
    },

    async adopt(spec) {
      const machine = readSpec(spec);
      const plan = await planOf(spec, machine);
      const run = await local.adopt(spec);
      if (run) return follow(spec, machine, plan, run);
      if (machine.request) await driver.discard(machine.id, false);
      return null;
    },
  };
}

function planOf({ request }: RunSpec, machine: MachineSpec): Promise<RunPlan> | null {
  return machine.request && request ? request.plan() : null;
}

function readSpec(spec: RunSpec): MachineSpec {
  const parsed = MachineSpec.safeParse(spec.vm);
  if (parsed.success) return parsed.data;
  throw new StartError(`the job does not say which machine: ${parsed.error.issues[0]?.message ?? ''}`, {
    cause: parsed.error,
  });
}

function wrap(driver: Driver, id: string, run: Run): Run {
  let cancelling: Promise<string[]> | null = null;

  async function stop(graceMs: number): Promise<string[]> {
    const words: string[] = [];
    try {
      const machine = await driver.connect(id);
      if (machine) {
        const rung = await (graceMs > 0 ? machine.stop(ladderWithin(graceMs)) : machine.kill());
        words.push(rungWords[rung]);
        // Its record is being written: a sweep now would hit the one who writes it.
        await within(run.ended, recordMs);
      }
    } catch (error) {
      if (!(error instanceof DriverError)) throw error;
      words.push(error.message);
    }
    return [...words, ...(await run.cancel(0))];
  }

  return {
    startedAt: run.startedAt,
    ended: run.ended.then(async (end) => {
      await driver.release(id).catch(() => undefined); // a device that is left over is replaced at the next start
      return end;
    }),
    cancel(graceMs) {
      cancelling ??= stop(graceMs);
      return cancelling;
    },
    suspend: () => run.suspend(),
    resume: () => run.resume(),
    detach: () => run.detach(),
  };
}
