import type { Driver, HostCapabilities, ImageChain, ImageInfo, QemuImg, Storage } from '@vmo/hypervisor';

/** What this domain needs of the hypervisor of this host; nothing here knows which it is. */
export interface Hypervisor {
  driver: Driver;
  /** Where everything of machines lies. Made at the first need. */
  storage(): Promise<Storage>;
  images: Pick<
    QemuImg,
    | 'createDisk'
    | 'createOverlay'
    | 'putOnto'
    | 'resizeDisk'
    | 'convertImage'
    | 'commitOverlay'
    | 'listSnapshots'
    | 'deleteSnapshot'
    | 'isUntouched'
  >;
  /** Looks at an image that came from outside. @throws ImageError that says why it is refused */
  inspect(image: ImageChain): Promise<Pick<ImageInfo, 'virtualBytes'>>;
  /** What this host can do. Remembered: only the first time, and with `again`, it is tried, which takes seconds. */
  probe(again: boolean): Promise<HostCapabilities>;
  /** What guests can be started with here, best first; empty as long as nobody has asked for what this host can do. */
  accelerators(): string[];
  /** What to install before any machine can run; null: it is there. A look at a few files. */
  missing(): string | null;
  smallGuest: {
    /** What to install for it; null: it can be built. */
    missing(): Promise<string | null>;
    /** @returns absolute paths of the two files */
    build(): Promise<{ kernel: string; initrd: string }>;
    kernelArguments: string;
  };
  /** Says what it would do, and starts nothing. */
  dryRun: boolean;
}
