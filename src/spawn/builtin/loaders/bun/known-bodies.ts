/**
 * Which Responses were made of a string or of bytes. Bun's own server knows it and says so in
 * Content-Type and Content-Length; the Web platform does not tell, so the constructor is watched.
 * Runs inside instances.
 */

/** Content-Type of an answer that names none, as Bun's server would send it. */
const defaultTypes = new WeakMap<Response, string>();

/** From now on `new Response(…)` is watched; everything else about Response stays as it is. */
export function watchResponses(): void {
  globalThis.Response = new Proxy(Response, {
    construct(target, parameters: unknown[], newTarget) {
      const response = Reflect.construct(target, parameters, newTarget) as Response;
      const body = parameters[0];
      if (typeof body === "string") {
        defaultTypes.set(response, "text/plain;charset=utf-8");
      } else if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
        defaultTypes.set(response, "application/octet-stream");
      }
      return response;
    },
  });
}

/** The default type of a Response whose body is there as a whole, undefined for all others. */
export function wholeBodyType(response: Response): string | undefined {
  return response.bodyUsed ? undefined : defaultTypes.get(response);
}
