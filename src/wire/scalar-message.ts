/**
 * Scalar messages: a 32-bit big-endian length, then that many bytes. Encoding only; decoder.ts
 * reads them. Each use of a scalar has a limit of its own, since the length comes from the peer.
 */

/** The most bytes of an error page that is read: pages of frameworks stay well under 1 MiB. */
export const MAX_PAGE_BYTES = 4 * 1024 * 1024;

export function encodeScalar(data: Uint8Array): Uint8Array {
  return Buffer.concat([encodeScalarHeader(data.length), data]);
}

/** What precedes `length` bytes of a scalar message. */
export function encodeScalarHeader(length: number): Uint8Array {
  if (length > 0xffff_ffff) throw new RangeError(`encode scalar: ${length} bytes`);
  const header = Buffer.allocUnsafe(4);
  header.writeUInt32BE(length);
  return header;
}
