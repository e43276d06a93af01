import { CodedError } from '@vmo/contract';

export const noSuchRequest = (id: string) => new CodedError('REQUEST_NOT_FOUND', `there is no request ${id}`);
