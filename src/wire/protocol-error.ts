/**
 * The error of a peer that breaks the protocol. It ends that peer and nobody else: whoever reads
 * from the peer catches it, logs one warning and closes. The message names what was read, where in
 * it, and why it is wrong.
 */

export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
