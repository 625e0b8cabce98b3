/**
 * A small application of Node's own http, without a package. It says who answered, counts, streams
 * as time goes by, and takes an upload of any size, of which it never holds more than a piece.
 *
 * By itself it listens on a port: `node app.js`. Under the pool the same call makes it serve
 * sessions. It works below any path: it looks at the last part only, and its links are relative.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

let served = 0;

const page = (url) => `<!DOCTYPE html>
<title>Node example</title>
<p>Hello from process ${process.pid}, Node ${process.version},
in ${process.env.APP_ENV ?? "no environment"}. This is its request number ${served};
you asked for ${url.replace(/[&<>]/g, (it) => `&#${it.charCodeAt(0)};`)}.</p>
<p><a href="ticks">Ten ticks of a clock</a></p>
<form method="post" action="upload" enctype="multipart/form-data">
  <input type="file" name="file"> <button>Upload</button>
</form>
`;

/** Each piece is sent when it is there; a client that leaves ends it. */
async function ticks(response) {
  response.writeHead(200, { "content-type": "text/plain" });
  for (let number = 1; number <= 10 && !response.destroyed; number += 1) {
    response.write(`tick ${number} of process ${process.pid}\n`);
    await sleep(100);
  }
  response.end();
}

/** Reads the body no faster than it is summed up. */
async function upload(request, response) {
  const sum = createHash("sha256");
  let bytes = 0;
  for await (const piece of request) {
    sum.update(piece);
    bytes += piece.length;
  }
  response.writeHead(200, { "content-type": "text/plain" });
  response.end(`${bytes} bytes, SHA-256 ${sum.digest("hex")}\n`);
}

async function answer(request, response) {
  served += 1;
  const { pathname } = new URL(request.url, "http://localhost");
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  if (name === "ticks") return ticks(response);
  if (name === "upload" && request.method === "POST") return upload(request, response);
  const isPage = name === "";
  response.writeHead(isPage ? 200 : 404, { "content-type": "text/html; charset=utf-8" });
  return response.end(isPage ? page(request.url) : "There is no such page.\n");
}

createServer((request, response) => {
  // Only a client that leaves in the middle of its upload makes it fail.
  answer(request, response).catch(() => response.destroy());
}).listen(process.env.PORT ?? 3000);
