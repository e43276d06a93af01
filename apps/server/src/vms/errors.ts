import { CodedError, allowedActions, type ErrorCode, type VmStatus } from '@vmo/contract';
import { DriverError, ImageError, type DriverProblem, type ImageProblem } from '@vmo/hypervisor';

const imageCodes: Partial<Record<ImageProblem, ErrorCode>> = {
  'disk-full': 'STORAGE_FULL',
  'no-program': 'HYPERVISOR_UNAVAILABLE',
  'in-use': 'DISK_IN_USE',
  range: 'INVALID_INPUT',
  'bad-name': 'INVALID_INPUT',
  exists: 'NAME_TAKEN',
  timeout: 'VM_IMPOSSIBLE',
  failed: 'VM_IMPOSSIBLE',
};

const driverCodes: Record<DriverProblem, ErrorCode> = {
  'no-hypervisor': 'HYPERVISOR_UNAVAILABLE',
  impossible: 'VM_IMPOSSIBLE',
  refused: 'VM_IMPOSSIBLE',
  silent: 'VM_IMPOSSIBLE',
  gone: 'VM_WRONG_STATE',
};

/** What the hypervisor and the disk say, as coded errors; anything else as it is. */
export function toCoded(error: unknown): unknown {
  if (error instanceof ImageError) {
    return new CodedError(imageCodes[error.problem] ?? 'IMAGE_REFUSED', error.message, { cause: error });
  }
  if (error instanceof DriverError) {
    return new CodedError(driverCodes[error.problem], error.message, { cause: error });
  }
  if (error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')) {
    return new CodedError(
      'STORAGE_FULL',
      'no space is left on the disk of the storage: make room, then try again',
      {
        cause: error,
      },
    );
  }
  return error;
}

/** Does something with the hypervisor; its errors come out as coded ones. */
export async function inOurWords<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toCoded(error);
  }
}

export const noSuchVm = (id: string) => new CodedError('VM_NOT_FOUND', `there is no machine ${id}`);
export const noSuchDisk = (id: string) => new CodedError('DISK_NOT_FOUND', `there is no disk ${id}`);

/** @param asked as `cannot be cloned` */
export function wrongState(name: string, status: VmStatus, asked: string): CodedError {
  const actions = allowedActions[status];
  const allowed = actions.length > 0 ? actions.join(', ') : 'nothing';
  return new CodedError('VM_WRONG_STATE', `${name} is ${status} and ${asked}: its state allows ${allowed}`);
}
