/**
 * Which Responses were made of a string or of bytes. Bun's own server knows it and says so in
 * Content-Type and Content-Length; the Web platform does not tell, so the constructor is watched.
 * Runs inside instances.
 */

import { makeNotes } from "./notes.ts";

/** A body that is there as a whole. */
export interface KnownBody {
  /** Content-Type of an answer that names none, as Bun's server would send it. */
  readonly type: string;
  /** Absent: it was given as bytes, or as an object for Response.json. */
  readonly text?: string;
}

const known = makeNotes<KnownBody>();

const ofBytes: KnownBody = { type: "application/octet-stream" };
const ofJson: KnownBody = { type: "application/json;charset=utf-8" };

/** From now on `new Response(…)` is watched; everything else about Response stays as it is. */
export function watchResponses(): void {
  const json = Response.json.bind(Response);
  Response.json = (...parameters: Parameters<typeof json>) => {
    const response = json(...parameters);
    known.set(response, ofJson);
    return response;
  };
  globalThis.Response = watched(Response);
}

/** A function, which costs half of what a Proxy does; to programs it is the class all the same. */
function watched(real: typeof Response): typeof Response {
  type Parameters = ConstructorParameters<typeof Response>;
  function construct(this: unknown, body?: Parameters[0], init?: Parameters[1]): Response {
    if (new.target === undefined) throw new TypeError("Use `new Response(...)`");
    const isOwn = (new.target as unknown) === construct;
    const made: unknown = isOwn
      ? new real(body, init)
      : Reflect.construct(real, [body, init], new.target);
    const response = made as Response;
    if (typeof body === "string") {
      known.set(response, { type: "text/plain;charset=utf-8", text: body });
    } else if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
      known.set(response, ofBytes);
    }
    return response;
  }
  Object.setPrototypeOf(construct, real);
  Object.defineProperty(construct, "name", { value: real.name });
  Object.defineProperty(construct, "length", { value: real.length });
  Object.defineProperty(construct, "prototype", { value: real.prototype, writable: false });
  return construct as unknown as typeof Response;
}

/** What is known of a Response's body; undefined where it has to be read as a stream. */
export function knownBody(response: Response): KnownBody | undefined {
  return response.bodyUsed ? undefined : known.get(response);
}
