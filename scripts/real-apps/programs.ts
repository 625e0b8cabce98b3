/** Real programs that speak HTTP themselves: of any language, started by a command. */
import { type RealApp, ROOT } from "./real-app.ts";
import { check, contains } from "./visitor.ts";

const tornado: RealApp = {
  name: "Tornado",
  type: "command",
  debian: ["python3-tornado"],
  files: {
    "server.py": `
import asyncio, sys
import tornado.httpserver, tornado.netutil, tornado.web, tornado.websocket
class Hello(tornado.web.RequestHandler):
    def get(self): self.write("hello from Tornado")
    def post(self): self.write(str(len(self.request.body)))
class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message): self.write_message(message)
async def main():
    application = tornado.web.Application([("/", Hello), ("/echo", Echo)])
    server = tornado.httpserver.HTTPServer(application)
    server.add_socket(tornado.netutil.bind_unix_socket(sys.argv[1]))
    await asyncio.Event().wait()
asyncio.run(main())
`,
  },
  settings: ['command = "python3 server.py {socket}"'],
  tried: "page, upload, WebSocket",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "hello from");
    const body = "x".repeat(2_000_000);
    contains(await visitor.page("/", { method: "POST", body }), "2000000");
    const socket = await visitor.socket("/echo");
    socket.send("hello");
    await socket.next("hello");
    socket.close();
  },
};

const aiohttp: RealApp = {
  name: "aiohttp",
  type: "command",
  debian: ["python3-aiohttp"],
  files: {
    "shop.py": `
from aiohttp import web
async def hello(request): return web.Response(text="hello from aiohttp")
async def upload(request): return web.Response(text=str(len(await request.read())))
async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket: await socket.send_str(message.data)
    return socket
def main(argv):
    app = web.Application(client_max_size=4_000_000)
    app.add_routes([web.get("/", hello), web.post("/", upload), web.get("/echo", echo)])
    return app
`,
  },
  settings: ['command = "python3 -m aiohttp.web -P 0 -U {socket} shop:main"'],
  tried: "page, upload, WebSocket",
  isQuick: true,
  drive: tornado.drive,
};

const puma: RealApp = {
  name: "Puma",
  type: "command",
  debian: ["puma"],
  files: {
    "config.ru": 'run ->(env) { [200, {}, ["hello ", env["rack.input"].read.size.to_s]] }\n',
  },
  settings: ['command = "puma -t 4 -b unix://{socket}"'],
  tried: "page, upload",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "hello 0");
    const body = "x".repeat(2_000_000);
    contains(await visitor.page("/", { method: "POST", body }), "hello 2000000");
  },
};

const php: RealApp = {
  name: "PHP's own server",
  type: "command",
  debian: ["php-cli"],
  files: {
    "site/index.php":
      '<?php echo "hello from PHP, ", strlen(file_get_contents("php://input")), " bytes";\n',
    "site/style.css": "body { color: black }\n",
  },
  settings: ['command = "php -S {host}:{port} -t site"'],
  tried: "page, upload, file",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "hello from PHP");
    contains(await visitor.page("/", { method: "POST", body: "x".repeat(99_999) }), "99999 bytes");
    contains(await visitor.page("/style.css"), "color: black");
  },
};

const lighttpd: RealApp = {
  name: "lighttpd",
  type: "command",
  debian: ["lighttpd"],
  files: {
    "lighttpd.conf": `server.systemd-socket-activation = "enable"
server.document-root = "${ROOT}/site"
server.modules = ("mod_dirlisting")
dir-listing.activate = "enable"
`,
    "site/files/one.txt": "one",
  },
  settings: ['command = "lighttpd -D -f lighttpd.conf"', 'listen = "inherit"'],
  tried: "file, part of it, list",
  drive: async (visitor) => {
    const headers = { range: "bytes=1-" };
    check((await visitor.page("/files/one.txt", { headers }, 206)) === "ne", "a part comes");
    contains(await visitor.page("/files/"), "one.txt");
    await visitor.page("/none", {}, 404);
  },
};

const c: RealApp = {
  name: "a program in C",
  type: "command",
  debian: ["gcc"],
  files: {
    "server.c": `
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
  for (;;) {
    int visitor = accept(3, NULL, NULL);
    char head[65536];
    if (visitor < 0) return 1;
    if (read(visitor, head, sizeof head) > 0)
      dprintf(visitor, "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\nhello from C\\n");
    close(visitor);
  }
}
`,
  },
  build: "cc -O -o server server.c",
  settings: ['command = "./server"', 'listen = "inherit"'],
  tried: "page",
  isQuick: true,
  drive: async (visitor) => {
    for (let n = 0; n < 20; n += 1) contains(await visitor.page("/"), "hello from C");
  },
};

const go: RealApp = {
  name: "a program in Go",
  type: "command",
  debian: ["golang-go"],
  files: {
    "main.go": `package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		size, _ := io.Copy(io.Discard, request.Body)
		fmt.Fprintf(answer, "hello from Go, %d bytes", size)
	})
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		panic(err)
	}
	panic(http.Serve(listener, nil))
}
`,
  },
  build: "GOCACHE=$PWD/cache GO111MODULE=off go build -o server main.go; rm -rf cache",
  settings: ['command = "./server"', 'listen = "inherit"'],
  tried: "page, upload",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "hello from Go");
    const body = "x".repeat(2_000_000);
    contains(await visitor.page("/", { method: "POST", body }), "2000000 bytes");
  },
};

export const programs: readonly RealApp[] = [tornado, aiohttp, puma, php, lighttpd, c, go];
