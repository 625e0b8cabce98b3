/**
 * The same application in four languages: it notes each request as a line of JSON in the file that
 * REACHED names, and answers that line. /plain answers a greeting, /big?n=N so many bytes,
 * /bad/diemid a part of an answer and its own death, below /bad nothing else is found.
 */
export interface Echo {
  readonly type: "rack" | "wsgi" | "node" | "bun";
  readonly file: string;
  readonly text: string;
}

const rack = `require "json"; require "base64"
LOG = File.open(ENV.fetch("REACHED"), "a"); LOG.sync = true
TEXT = { "content-type" => "text/plain" }
class Dying
  def each; yield "partial\\n"; sleep 0.1; Process.kill(9, $$); sleep 1; end
end
run(lambda do |env|
  case env["PATH_INFO"]
  when "/plain" then return [200, TEXT, ["Hello\\n"]]
  when "/big"
    n = env["QUERY_STRING"][2..].to_i
    return [200, { "content-type" => "x/y", "content-length" => n.to_s }, ["x" * n]]
  when "/bad/diemid" then return [200, TEXT, Dying.new]
  when %r{^/bad/} then return [404, TEXT, ["?"]]
  end
  body = begin; env["rack.input"].read || ""; rescue StandardError => e; "ERR #{e.class}"; end
  headers = env.select { |name, _| name.start_with?("HTTP_") || name =~ /^CONTENT_/ }
  line = JSON.generate(
    m: env["REQUEST_METHOD"], u: env["REQUEST_URI"], scheme: env["rack.url_scheme"],
    ip: env["REMOTE_ADDR"], b: Base64.strict_encode64(body),
    h: headers.transform_values { |v| v.dup.force_encoding("BINARY").encode("UTF-8", "ISO-8859-1") }
  ) + "\\n"
  LOG.write(line)
  [200, { "content-type" => "application/json" }, [line]]
end)
`;

const wsgi = `import base64, json, os, time
LOG = open(os.environ["REACHED"], "a", buffering=1)
TEXT = [("Content-Type", "text/plain")]
def dying():
    yield b"partial\\n"
    time.sleep(0.1); os.kill(os.getpid(), 9); time.sleep(1)
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/plain": start_response("200 OK", TEXT); return [b"Hello\\n"]
    if path == "/big":
        n = int(environ["QUERY_STRING"][2:])
        start_response("200 OK", [("Content-Type", "x/y"), ("Content-Length", str(n))])
        return [b"x" * n]
    if path == "/bad/diemid": start_response("200 OK", TEXT); return dying()
    if path.startswith("/bad/"): start_response("404 Not Found", TEXT); return [b"?"]
    try: body = environ["wsgi.input"].read()
    except Exception as e: body = b"ERR " + type(e).__name__.encode()
    h = {k: v for k, v in environ.items() if k.startswith(("HTTP_", "CONTENT_"))}
    line = json.dumps(dict(m=environ["REQUEST_METHOD"], u=environ["REQUEST_URI"], h=h,
        scheme=environ["wsgi.url_scheme"], ip=environ.get("REMOTE_ADDR"),
        b=base64.b64encode(body).decode())) + "\\n"
    LOG.write(line)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [line.encode()]
`;

const node = `const { createServer } = require("node:http");
const { appendFileSync } = require("node:fs");
const text = { "content-type": "text/plain" };
createServer(async (req, res) => {
  const url = new URL(req.url, "http://x");
  if (url.pathname === "/plain") return res.writeHead(200, text).end("Hello\\n");
  if (url.pathname === "/big") {
    const n = Number(url.searchParams.get("n"));
    return res.writeHead(200, { "content-length": n }).end(Buffer.alloc(n, 120));
  }
  if (url.pathname === "/bad/diemid") {
    res.writeHead(200, text).write("partial\\n");
    return setTimeout(() => process.kill(process.pid, 9), 100);
  }
  if (url.pathname.startsWith("/bad/")) return res.writeHead(404, text).end("?");
  const parts = [];
  let failed = "";
  try { for await (const part of req) parts.push(part); } catch (e) { failed = "ERR " + e.code; }
  const b = failed + Buffer.concat(parts).toString("base64");
  const line = JSON.stringify({ m: req.method, u: req.url, h: req.headers, b }) + "\\n";
  appendFileSync(process.env.REACHED, line);
  if (failed) res.destroy();
  else res.writeHead(200, { "content-type": "application/json" }).end(line);
}).listen(3000);
`;

const bun = `import { appendFileSync } from "node:fs";
const headers = { "content-type": "text/plain" };
const dying = () => new ReadableStream({ async start(c) {
  c.enqueue(new TextEncoder().encode("partial\\n"));
  await Bun.sleep(100);
  process.kill(process.pid, 9);
} });
export default { async fetch(req: Request) {
  const url = new URL(req.url);
  if (url.pathname === "/plain") return new Response("Hello\\n", { headers });
  if (url.pathname === "/big") {
    let left = Number(url.searchParams.get("n"));
    return new Response(new ReadableStream({ pull(c) {
      const n = Math.min(left, 65536);
      if (n > 0) c.enqueue(new Uint8Array(n));
      else c.close();
      left -= n;
    } }), { headers: { "content-length": String(left) } });
  }
  if (url.pathname === "/bad/diemid") return new Response(dying(), { headers });
  if (url.pathname.startsWith("/bad/")) return new Response("?", { status: 404, headers });
  const b = Buffer.from(await req.arrayBuffer()).toString("base64");
  const h = Object.fromEntries(req.headers);
  const line = JSON.stringify({ m: req.method, u: req.url, h, b }) + "\\n";
  appendFileSync(process.env.REACHED!, line);
  return new Response(line, { headers: { "content-type": "application/json" } });
} };
`;

export const echoes: readonly Echo[] = [
  { type: "rack", file: "config.ru", text: rack },
  { type: "wsgi", file: "passenger_wsgi.py", text: wsgi },
  { type: "node", file: "app.js", text: node },
  { type: "bun", file: "server.ts", text: bun },
];
