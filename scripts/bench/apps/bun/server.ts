/** GET / says hello, GET /mebibyte is 1 MiB, GET /large 4 MiB, POST / counts what it is sent. */

const HELLO = "Hello from Bun\n";
const MEBIBYTE = new Uint8Array(1_048_576).fill(120);
const pages = new Map<string, string | Uint8Array<ArrayBuffer>>([
  ["/mebibyte", MEBIBYTE],
  ["/large", new Uint8Array(4 * 1_048_576).fill(120)],
]);
const headers = { "content-type": "text/plain" };

async function count(request: Request): Promise<string> {
  let length = 0;
  for await (const chunk of request.body ?? []) length += chunk.length;
  return String(length);
}

async function fetch(request: Request): Promise<Response> {
  if (request.method === "POST") return new Response(await count(request), { headers });
  const { pathname } = new URL(request.url);
  return new Response(pages.get(pathname) ?? HELLO, { headers });
}

export default { hostname: "127.0.0.1", port: Number(process.env["PORT"] ?? 3000), fetch };
