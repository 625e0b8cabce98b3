/** A refusal of the pool as the reply a client gets: the messages of PROTOCOL section 3. */
import type { GetRefusal } from "../pool/types.ts";
import { fromText, type ByteString } from "../wire/bytes.ts";
import { encodeRefusal, spawnExceptionParts } from "../wire/replies.ts";

/** The reply to a `get` of `root` that was refused, in parts; tagged if the get was. */
export function encodeRefused(
  root: ByteString,
  refusal: GetRefusal,
  tag: ByteString | undefined,
): Uint8Array[] {
  switch (refusal.kind) {
    case "spawnFailed": {
      const { message, page } = refusal.failure;
      const text = `Cannot spawn application '${root}${fromText(`': ${message}`)}`;
      return spawnExceptionParts(text as ByteString, page, tag);
    }
    case "busy": {
      const message = fromText(`The application pool is too busy: ${refusal.why}`);
      return [encodeRefusal("BusyException", message, tag)];
    }
    case "cannotConnect": {
      const cause = fromText(`': ${refusal.cause}`);
      const message = `Cannot connect to an existing application instance for '${root}${cause}`;
      return [encodeRefusal("IOException", message as ByteString, tag)];
    }
  }
}
