/** Types of body.cjs, for the loader that is TypeScript. */
export class BadBody extends Error {}

export interface Body {
  readonly isWhole: boolean;
  readonly isToTheEnd: boolean;
  /** @returns how many of the bytes were the body's. @throws BadBody. */
  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number;
}

/** Infinity: until the other side ends. */
export class PlainBody implements Body {
  constructor(length: number);
  readonly isWhole: boolean;
  readonly isToTheEnd: boolean;
  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number;
}

export class ChunkedBody implements Body {
  readonly isWhole: boolean;
  readonly isToTheEnd: boolean;
  read(bytes: Buffer, sink: (bytes: Uint8Array) => void): number;
}
