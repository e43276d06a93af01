import { z } from 'zod';

/**
 * growing: the job is not final · kept: everything is stored, the sizes agree · verified: and the SHA-256 of each
 * stream equals that of what the command wrote · cut: the middle is missing, beyond the size limit · expired: removed
 * after the retention time, whole or in part.
 */
export const LogKept = z.enum(['growing', 'kept', 'verified', 'cut', 'expired']);
export type LogKept = z.infer<typeof LogKept>;
