/**
 * The pool's snapshot as the JSON of `inspect`. One thing differs, because JSON is text
 * and a root is bytes:
 * - `root` is the application's root as text, U+FFFD in place of what is not UTF-8: for people.
 * - `rootBase64` is null if `root` says it all, else the bytes in base64: for programs.
 */

import type { PoolSnapshot } from "../pool/types.ts";
import { fromText, toBytes, toText } from "../wire/bytes.ts";
import type { Inspection } from "../wire/inspection.ts";

/** The bytes of the answer to `inspect`. */
export function snapshotJson(snapshot: PoolSnapshot): Uint8Array {
  const json: Inspection = {
    ...snapshot,
    applications: snapshot.applications.map((application) => {
      const root = toText(application.root);
      const isText = fromText(root) === application.root;
      const rootBase64 = isText ? null : toBytes(application.root).toString("base64");
      return { ...application, root, rootBase64 };
    }),
  };
  return Buffer.from(JSON.stringify(json));
}
