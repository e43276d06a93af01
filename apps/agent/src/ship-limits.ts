export interface ShipLimits {
  /** Output that waits in the spool: above it the job is stopped until no more than `lowWaterBytes` wait. */
  highWaterBytes: number;
  lowWaterBytes: number;
  /** Of a longer log the first part and the last `tailBytes` are kept. */
  maxLogBytes: number;
  tailBytes: number;
}

/** Of a long log the end matters more than the middle, and the beginning most: this much of it is its end. */
const maxTailBytes = 64 * 1024 * 1024;

export function shipLimits(highWaterBytes: number, maxLogBytes: number): ShipLimits {
  return {
    highWaterBytes,
    lowWaterBytes: Math.floor(highWaterBytes / 4),
    maxLogBytes,
    tailBytes: Math.min(maxTailBytes, Math.floor(maxLogBytes / 2)),
  };
}
