/** Why a path, an image or a request about them was refused. */
export type ImageProblem =
  /** The name or path breaks the rules for names. */
  | 'bad-name'
  /** The path leads out of the storage. */
  | 'outside'
  /** A symbolic or a hard link: its bytes may belong to somebody else. */
  | 'link'
  /** A directory, device, socket or pipe. */
  | 'not-a-file'
  | 'missing'
  | 'exists'
  /** The file is not of the format that was declared. */
  | 'wrong-format'
  /** A format that is not taken, named in the message. */
  | 'foreign-format'
  /** It wants bytes from another file than its own and its known backing file. */
  | 'backing-file'
  | 'data-file'
  | 'encrypted'
  | 'corrupt'
  /** Not closed properly; can be repaired. */
  | 'dirty'
  /** A feature or version of the format that is not known here. */
  | 'unsupported'
  /** Its virtual size, or a table of it, is beyond the limit. */
  | 'too-large'
  /** A number that was asked for is out of its range. */
  | 'range'
  /** Another process writes to it. */
  | 'in-use'
  | 'disk-full'
  | 'timeout'
  /** qemu-img is not installed. */
  | 'no-program'
  /** qemu-img failed for another reason, which the message cites. */
  | 'failed';

/** An image or a path that is refused; the message says what is wrong with it and what would be right. */
export class ImageError extends Error {
  readonly problem: ImageProblem;

  constructor(problem: ImageProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImageError';
    this.problem = problem;
  }
}
