/**
 * ioctl(open("/dev/urandom", O_WRONLY), RNDRESEEDCRNG, 0), and its result as exit code, for x86-64:
 *
 *   mov $2,%eax; lea path(%rip),%rdi; mov $1,%esi; syscall
 *   mov %eax,%edi; mov $0x5207,%esi; xor %edx,%edx; mov $16,%eax; syscall
 *   mov %eax,%edi; mov $60,%eax; syscall; path: .asciz "/dev/urandom"
 */
const code = Buffer.from(
  'b802000000488d3d20000000be010000000f0589c7be0752000031d2b8100000000f0589c7b83c0000000f05' +
    '2f6465762f7572616e646f6d00',
  'hex',
);
const loadAt = 0x400000;
const headers = 64 + 56;

/**
 * A program that has Linux take what was mixed into its randomness at once, rather than within a minute. No shell can do
 * that, and not every guest has a language that can.
 */
export function reseedProgram(): Buffer {
  const elf = Buffer.alloc(headers);
  elf.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  elf.writeUInt16LE(2, 16); // an executable
  elf.writeUInt16LE(62, 18); // x86-64
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(BigInt(loadAt + headers), 24);
  elf.writeBigUInt64LE(64n, 32);
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  const size = BigInt(headers + code.length);
  elf.writeUInt32LE(1, 64); // to be loaded
  elf.writeUInt32LE(5, 68); // read and execute
  elf.writeBigUInt64LE(BigInt(loadAt), 80);
  elf.writeBigUInt64LE(BigInt(loadAt), 88);
  elf.writeBigUInt64LE(size, 96);
  elf.writeBigUInt64LE(size, 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([elf, code]);
}
