/** Kept sessions of bun applications. */
import { keptSessions } from "./kept-sessions.ts";

const program = `
  let gone = 0;
  const paths = {
    "/text": () => new Response("text"),
    "/stream": () => new Response(new ReadableStream({
      async pull(controller) {
        controller.enqueue("a");
        await Bun.sleep(2);
        controller.enqueue("b");
        controller.close();
      } })),
    "/none": () => new Response(null, { status: 204 }),
    "/echo": async (request) => new Response(await request.text()),
    "/ignore": () => new Response("ignored"),
    "/keep": (request) => new Response([...request.headers.keys()].join()),
    "/wait": (request) => new Promise((resolve) => {
      request.signal.addEventListener("abort", () => { gone += 1; resolve(new Response()); });
    }),
    "/gone": () => new Response(String(gone)),
    "/slow": async () => { await Bun.sleep(100); return new Response("slow"); },
    "/wrong": () => new Response(
      new ReadableStream({ pull(controller) { controller.enqueue("short"); controller.close(); } }),
      { headers: { "content-length": "10" } }),
  };
  export default { fetch: (request) => paths[new URL(request.url).pathname](request) };
`;

keptSessions("bun", "server.ts", program);
