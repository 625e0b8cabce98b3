/** Programs for the tests of the bun loader, as the text of their server.ts. */

/** A default export with `fetch`; the path chooses what it does. */
export const application = `
  let aborted = 0;
  const paths = {
    "/echo": async (request) => {
      const body = request.body === null ? null : await request.text();
      const { method, url } = request;
      return Response.json({ method, url, headers: [...request.headers], body });
    },
    "/cookies": () => {
      const headers = new Headers([["set-cookie", "a=1"], ["x-one", "1"], ["set-cookie", "b=2"]]);
      return new Response("x", { headers, status: 201, statusText: "As You Like" });
    },
    "/connection": () => {
      const headers = { Connection: "close, X-Hop", "x-hop": "1", "x-a": "b" };
      return new Response("framed", { headers });
    },
    "/text": () => new Response("tëxt"),
    "/bytes": () => new Response(new Uint8Array([1, 2, 255])),
    "/json": () => Response.json({ a: 1 }),
    "/none": () => new Response(null, { status: 204 }),
    "/big": () => new Response("x".repeat(5_000_000)),
    "/stream": () => new Response(new ReadableStream({
      async pull(controller) {
        controller.enqueue("text ");
        await Bun.sleep(5);
        controller.enqueue(new TextEncoder().encode("bytes"));
        controller.close();
      } })),
    "/generator": () => new Response(async function* () { yield "a"; yield "b"; }),
    "/failing-stream": () => new Response(new ReadableStream({
      start(controller) { controller.enqueue("begin"); },
      async pull(controller) {
        await Bun.sleep(5);
        controller.error(new Error("stream broke"));
      } })),
    "/ignore": () => new Response("did not read"),
    "/throw": () => { throw new Error("thrown <here>"); },
    "/nothing": () => 0,
    "/count": async (request) => {
      let bytes = 0;
      for await (const chunk of request.body) bytes += chunk.length;
      return new Response(String(bytes));
    },
    "/wait": (request) => new Promise((resolve) => {
      request.signal.addEventListener("abort", () => { aborted += 1; resolve(new Response()); });
    }),
    "/aborted": () => new Response(String(aborted)),
    "/endless": () => new Response(new ReadableStream({
      async pull(controller) { await Bun.sleep(1); controller.enqueue("x".repeat(10_000)); },
      cancel() { aborted += 1; } })),
    "/server": (_request, server) => new Response(
      [typeof server.port, server.requestIP(_request), server.upgrade(_request)].join()),
  };
  export default {
    fetch: (request, server) => {
      const answer = paths[new URL(request.url).pathname];
      return answer?.(request, server) ?? new Response("no", { status: 404 });
    },
  };
`;

/** A program that calls Bun.serve with routes, if it is the main one. */
export const routes = `
  if (import.meta.main) {
    const server = Bun.serve({
      port: 1,
      routes: {
        "/a/:name": (request) => new Response("routed to " + request.params.name),
        "/echo": { POST: async (request) => new Response(await request.text()) },
        "/static": new Response("static", { headers: { "x-static": "1" } }),
        "/go": Response.redirect("/a/there", 302),
        "/connection": () => {
          const headers = { Connection: "close, X-Hop", "x-hop": "1", "x-a": "b" };
          return new Response("framed", { headers });
        },
        "/host": (request) => new Response(
          [request.url, request.headers.get("accept-encoding"),
           request.headers.get("x-forwarded-proto")].join(" ")),
      },
      fetch: () => new Response("fallback", { status: 404 }),
    });
    console.log("listens at " + server.url);
  }
`;
