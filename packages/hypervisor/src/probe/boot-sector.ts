/** What the guest of the probe writes to port 0xe9. */
export const proof = 'vmo: a guest ran';
/** QEMU's exit status for the value that the guest writes to port 0xf4 (isa-debug-exit): twice it, plus one. */
const exitValue = 0x10;
export const exitStatus = exitValue * 2 + 1;

const origin = 0x7c00;
const sectorBytes = 512;

/**
 * A whole guest in one sector: the firmware loads it to 0x7c00 and jumps there, in 16-bit real mode. It writes its
 * proof and ends the machine. So it needs no kernel and no package, and yet whoever runs it has run the firmware, which
 * asks the emulated devices again and again: what hangs, or crawls, where KVM cannot be used.
 */
export function bootSector(): Buffer {
  const code = Buffer.from([
    ...[0xfa], //                           cli
    ...[0x31, 0xc0], //                     xor ax, ax
    ...[0x8e, 0xd8], //                     mov ds, ax
    ...[0xfc], //                           cld
    ...[0xbe, 0x00, 0x00], //               mov si, text (put in below)
    ...[0xac], //                     next: lodsb
    ...[0x84, 0xc0], //                     test al, al
    ...[0x74, 0x04], //                     jz done
    ...[0xe6, 0xe9], //                     out 0xe9, al
    ...[0xeb, 0xf7], //                     jmp next
    ...[0xb0, exitValue], //          done: mov al, exitValue
    ...[0xe6, 0xf4], //                     out 0xf4, al
    ...[0xf4], //                     halt: hlt
    ...[0xeb, 0xfd], //                     jmp halt
  ]);
  code.writeUInt16LE(origin + code.length, 7);
  const sector = Buffer.alloc(sectorBytes);
  code.copy(sector);
  sector.write(`${proof}\0`, code.length, 'latin1');
  sector.writeUInt16LE(0xaa55, sectorBytes - 2);
  return sector;
}
