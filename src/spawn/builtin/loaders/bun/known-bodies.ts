/**
 * Which Responses were made of a string or of bytes. Bun's own server knows it and says so in
 * Content-Type and Content-Length; the Web platform does not tell, so the constructor is watched.
 * Runs inside instances.
 */

/** A body that is there as a whole. */
export interface KnownBody {
  /** Content-Type of an answer that names none, as Bun's server would send it. */
  readonly type: string;
  /** Absent: it was given as bytes, or as an object for Response.json. */
  readonly text?: string;
}

const known = new WeakMap<Response, KnownBody>();

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
  globalThis.Response = new Proxy(Response, {
    construct(target, parameters: unknown[], newTarget) {
      const response = Reflect.construct(target, parameters, newTarget) as Response;
      const body = parameters[0];
      if (typeof body === "string") {
        known.set(response, { type: "text/plain;charset=utf-8", text: body });
      } else if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
        known.set(response, ofBytes);
      }
      return response;
    },
  });
}

/** What is known of a Response's body; undefined where it has to be read as a stream. */
export function knownBody(response: Response): KnownBody | undefined {
  return response.bodyUsed ? undefined : known.get(response);
}
