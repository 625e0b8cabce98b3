/** Programs of type `command` for tests: they know nothing of the server, and listen as told. */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { findUser } from "../../src/native/process.ts";
import type { Gateway } from "../helpers/gateway.ts";

/** Says what it sees of a request, as JSON; in HTTP/1.1, several connections at once. */
const python = `
import json, os, socket, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "-"
    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        while "chunked" in (self.headers.get("transfer-encoding") or ""):
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0: break
        if self.path == "/hang": time.sleep(60)
        if self.path == "/exit": os._exit(3)
        seen = {"method": self.command, "path": self.path, "body": len(body), "pid": os.getpid(),
                "uid": os.getuid(), "headers": [[n.lower(), v] for n, v in self.headers.items()],
                "env": {n: os.environ[n] for n in ("PORT", "HOST", "LISTEN_FDS", "LISTEN_FDNAMES")
                        if n in os.environ}, "cwd": os.getcwd()}
        text = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(text)
    do_POST = do_HEAD = do_PUT = do_GET

class Server(ThreadingHTTPServer):
    daemon_threads = True
    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name = self.server_port = "x"

def serve():
    if "LISTEN_FDS" in os.environ:
        assert os.environ["LISTEN_PID"] == str(os.getpid())
        Server.address_family = socket.AF_UNIX
        server = Server("", Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = socket.socket(fileno=3)
        server.get_request = lambda: (server.socket.accept()[0], ("-", 0))
    elif len(sys.argv) > 1 and sys.argv[1].startswith("/"):
        Server.address_family = socket.AF_UNIX
        server = Server(sys.argv[1], Handler)
        server.get_request = lambda: (server.socket.accept()[0], ("-", 0))
    else:
        server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
    server.serve_forever()

if __name__ == "__main__": serve()
`;

/** Node's own server with what is special in answers, and a protocol to change to. */
const node = `
const http = require("node:http");
const server = http.createServer((request, response) => {
  const { url } = request;
  if (url === "/chunks") {
    response.writeHead(200, { Trailer: "X-Sum" });
    for (const text of ["one ", "two ", "three"]) response.write(text);
    response.addTrailers({ "X-Sum": "3" });
    return response.end();
  }
  if (url === "/events") {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: 1\\n\\n");
    request.on("close", () => console.log("events closed"));
    return;
  }
  if (url === "/close") return response.writeHead(200, { Connection: "close" }).end("closed");
  if (url === "/early") {
    response.writeEarlyHints({ link: "</style.css>; rel=preload" });
    return response.end("late");
  }
  if (url === "/204") return response.writeHead(204).end();
  if (url === "/304") return response.writeHead(304).end();
  let bytes = 0;
  request.on("data", (chunk) => (bytes += chunk.length));
  const { socket } = request;
  socket.seen ??= Math.random();
  request.on("end", () => response.end(url + " " + bytes + " " + socket.seen));
});
server.on("upgrade", (request, socket, head) => {
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n" +
    "Upgrade: " + request.headers.upgrade + "\\r\\n\\r\\n");
  socket.write(head);
  socket.on("data", (bytes) => socket.write(String(bytes).toUpperCase()));
  socket.on("end", () => socket.end());
});
server.listen(process.argv[2] ?? { port: process.env.PORT, host: process.env.HOST });
`;

export const programs: Readonly<Record<string, string>> = { "told.py": python, "app.js": node };

/** A root that belongs to `nobody` where the tests run as root, with these files in it. */
export function programRoot(directory: string, files = programs): string {
  const root = join(directory, "site");
  mkdirSync(root, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  if (process.getuid?.() === 0) chownSync(root, findUser("nobody")?.uid ?? 0, 0);
  return root;
}

/** A configuration of one application. @param lines of its table. @returns its path. */
export function commandConfig(root: string, lines: string, top = ""): string {
  const file = `${root}.toml`;
  const apps = `[[apps]]\nroot = ${JSON.stringify(root)}\n${lines}\n`;
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n${top}\n${apps}`);
  return file;
}

/** What the Python program has seen. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: number;
  readonly pid: number;
  readonly uid: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export async function see(gateway: Gateway, path: string, init?: RequestInit): Promise<Seen> {
  const response = await fetch(new URL(path, await gateway.address()), init);
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as Seen;
}

/** Whether a process is there, and no zombie. */
export function isThere(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}
