/** An answer with a file, as Bun.serve takes it. */
import { closeSync } from "node:fs";

import type { Answer } from "./answer.ts";
import type { FilePart } from "./file-sender.ts";
import type { FileAnswer } from "./static-files.ts";

/** Must be returned to Bun in the same turn of the event loop. */
export function fileResponse(answer: Answer, request: Request, file: FileAnswer): Response {
  const { status, lines, body } = file;
  const headers = new Headers();
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon), line.slice(colon + 2));
  }
  if (body === undefined || body instanceof Uint8Array) {
    const bytes = body === undefined ? null : (body as Uint8Array<ArrayBuffer>);
    return answer.whole(new Response(bytes, { status, headers }), body?.length ?? 0);
  }
  const { offset, length } = body;
  // Bun cuts files to a range by itself, also where we have decided against it; not so when there
  // is a Content-Range, which says nothing in an answer with status 200.
  if (status === 200 && request.headers.has("range")) {
    headers.set("Content-Range", `bytes 0-${length - 1}/${length}`);
  }
  // Bun would offer it under the name of a descriptor otherwise.
  headers.set("Content-Disposition", "inline");
  const part = Bun.file(lentPath(body)).slice(offset, offset + length);
  return answer.whole(new Response(part, { status, headers }), length);
}

/**
 * A path that Bun opens when it begins the answer, in this turn of the event loop, and that means
 * the file whatever becomes of its name. Closes our descriptor after that turn.
 */
function lentPath({ fd }: FilePart): string {
  const number = fd.take();
  setImmediate(() => closeSync(number));
  return `/proc/self/fd/${number}`;
}
