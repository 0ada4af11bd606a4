/**
 * A name for a user without one. PostgreSQL's `initdb` and its single-user mode look up the name of their user and refuse
 * to run if there is none (`docker run --user 12345`), though they make no use of it. As in PostgreSQL's own container
 * images, a preloaded library answers instead of the system's. Its only function, `getpwuid`, has two instructions, so it
 * is written here without a compiler.
 */

const PAGE = 0x10000;
const DATA_OFFSET = 0x1000;
const DATA_ADDRESS = PAGE + DATA_OFFSET;
const NAME = 'longtail';

/** Whether a program ended because its user has no name. Expects English messages. */
export function isNameless(output: string): boolean {
  return /could not look up effective user ID \d+/.test(output);
}

/** The library, for Linux on this kind of machine. Undefined where there is none. */
export function namelessLibrary(
  architecture: string,
  user: { readonly uid: number; readonly gid: number },
): Buffer | undefined {
  const machine = MACHINES[architecture];
  if (machine === undefined) return undefined;

  // The read-only part: the headers, the tables for the linker's symbol lookup, the code.
  const names = Buffer.from('\0getpwuid\0');
  const [hashAt, symbolsAt, namesAt] = [0x200, 0x240, 0x280];
  const [relocationsAt, codeAt] = [0x2c0, 0x400];
  // The writable part: the dynamic table, the answer, and its strings.
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

  // ELF, 64 bits, little-endian; a shared object; the program headers follow directly.
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

  // One bucket, two symbols: the empty one and getpwuid.
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
  /** ELF's machine number. */
  readonly id: number;
  /** The relocation type "base address plus addend". */
  readonly relative: number;
  /** Code that returns the address `distance` bytes after its start. */
  code(distance: number): Uint8Array;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    id: 62,
    relative: 8,
    code(distance) {
      // lea rax, [rip + …]; ret. The offset counts from the end of the first instruction.
      const code = Buffer.from([0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc3]);
      code.writeInt32LE(distance - 7, 3);
      return code;
    },
  },
  arm64: {
    id: 183,
    relative: 1027,
    code(distance) {
      // adr x0, …; ret. The immediate's two lowest bits are stored separately.
      const code = Buffer.alloc(8);
      code.writeUInt32LE((0x10000000 | ((distance & 3) << 29) | ((distance >> 2) << 5)) >>> 0, 0);
      code.writeUInt32LE(0xd65f03c0, 4);
      return code;
    },
  },
};
