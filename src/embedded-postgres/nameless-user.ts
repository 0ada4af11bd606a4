/**
 * A name for a user that has none. PostgreSQL's `initdb` and its single-user mode ask the system for the name of the user
 * that runs them, and refuse where there is none (`docker run --user 12345`), though they make no use of it. As in
 * PostgreSQL's own container images, a library that is loaded before the system's answers for it. It has one function,
 * `getpwuid`, of two instructions, so it is written here, without a compiler.
 */

const PAGE = 0x10000;
const DATA_OFFSET = 0x1000;
const DATA_ADDRESS = PAGE + DATA_OFFSET;
const NAME = 'longtail';

/** Whether a program ended because its user has no name. Its messages are in English. */
export function isNameless(output: string): boolean {
  return /could not look up effective user ID \d+/.test(output);
}

/** The library, for Linux on this kind of machine; undefined where there is none. */
export function namelessLibrary(
  architecture: string,
  user: { readonly uid: number; readonly gid: number },
): Buffer | undefined {
  const machine = MACHINES[architecture];
  if (machine === undefined) return undefined;

  // What is only read: the headers, then what the linker looks names up in, then the code.
  const names = Buffer.from('\0getpwuid\0');
  const [hashAt, symbolsAt, namesAt] = [0x200, 0x240, 0x280];
  const [relocationsAt, codeAt] = [0x2c0, 0x400];
  // What is written to: the table of these places, the answer, and its texts.
  const [dynamicAt, answerAt, textsAt] = [DATA_ADDRESS, DATA_ADDRESS + 0x100, DATA_ADDRESS + 0x140];
  const texts = Buffer.from(`${NAME}\0/\0`);
  const [name, directory, empty] = [textsAt, textsAt + NAME.length + 1, textsAt + NAME.length];
  const pointers = [
    [0, name],
    [8, empty],
    [24, empty],
    [32, directory],
    [40, empty],
  ] as const;

  const code = machine.code(answerAt - codeAt);
  const size = textsAt - DATA_ADDRESS + texts.length;
  const file = Buffer.alloc(DATA_OFFSET + size);
  const put = (at: number, ...words: readonly number[]): void => {
    for (const [index, word] of words.entries()) file.writeBigUInt64LE(BigInt(word), at + index * 8);
  };
  const put32 = (at: number, ...words: readonly number[]): void => {
    for (const [index, word] of words.entries()) file.writeUInt32LE(word, at + index * 4);
  };

  // ELF, 64 bits, little-endian; a shared object; the program headers follow at once.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(3, 16);
  file.writeUInt16LE(machine.id, 18);
  put32(20, 1);
  put(32, 64);
  for (const [at, value] of [
    [52, 64],
    [54, 56],
    [56, 4],
    [58, 64],
  ] as const) {
    file.writeUInt16LE(value, at);
  }
  const [READ, WRITE, EXECUTE] = [4, 2, 1];
  const headers = [
    { type: 1, flags: READ | EXECUTE, offset: 0, address: 0, size: codeAt + code.length, align: PAGE },
    { type: 1, flags: READ | WRITE, offset: DATA_OFFSET, address: DATA_ADDRESS, size, align: PAGE },
    { type: 2, flags: READ | WRITE, offset: DATA_OFFSET, address: dynamicAt, size: 0x100, align: 8 },
    // The stack: without this, the linker would make it executable.
    { type: 0x6474e551, flags: READ | WRITE, offset: 0, address: 0, size: 0, align: 16 },
  ];
  for (const [index, { type, flags, offset, address, size: bytes, align }] of headers.entries()) {
    const at = 64 + index * 56;
    put32(at, type, flags);
    put(at + 8, offset, address, address, bytes, bytes, align);
  }

  // One bucket, two symbols: the empty one, and ours.
  put32(hashAt, 1, 2, 1, 0, 0);
  put32(symbolsAt + 24, 1);
  // A global function, defined here.
  file.set([0x12, 0, 1, 0], symbolsAt + 28);
  put(symbolsAt + 32, codeAt, code.length);
  file.set(names, namesAt);
  for (const [index, [at, target]] of pointers.entries()) {
    put(relocationsAt + index * 24, answerAt + at, machine.relative, target);
  }
  file.set(code, codeAt);

  const table = [
    [4, hashAt],
    [5, namesAt],
    [6, symbolsAt],
    [7, relocationsAt],
    [8, pointers.length * 24],
    [9, 24],
    [10, names.length],
    [11, 24],
  ] as const;
  for (const [index, entry] of table.entries()) put(DATA_OFFSET + index * 16, ...entry);
  put32(DATA_OFFSET + answerAt - DATA_ADDRESS + 16, user.uid, user.gid);
  file.set(texts, DATA_OFFSET + textsAt - DATA_ADDRESS);
  return file;
}

interface Machine {
  /** ELF's number of it. */
  readonly id: number;
  /** Its relocation "the base address plus a number". */
  readonly relative: number;
  /** Returns the address that lies `distance` bytes after the code's beginning. */
  code(distance: number): Uint8Array;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    id: 62,
    relative: 8,
    code(distance) {
      // lea rax, [rip + …]; ret. Counted from the end of the first.
      const code = Buffer.from([0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc3]);
      code.writeInt32LE(distance - 7, 3);
      return code;
    },
  },
  arm64: {
    id: 183,
    relative: 1027,
    code(distance) {
      // adr x0, …; ret. The number's two lowest bits are apart.
      const code = Buffer.alloc(8);
      code.writeUInt32LE((0x10000000 | ((distance & 3) << 29) | ((distance >> 2) << 5)) >>> 0, 0);
      code.writeUInt32LE(0xd65f03c0, 4);
      return code;
    },
  },
};
