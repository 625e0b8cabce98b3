// GET / says hello, GET /mebibyte is 1 MiB, GET /large 4 MiB, POST / counts what it is sent.
const http = require("node:http");

const HELLO = Buffer.from("Hello from Node\n");
const MEBIBYTE = Buffer.alloc(1_048_576, "x");
const PAGES = new Map([
  ["/mebibyte", MEBIBYTE],
  ["/large", Buffer.alloc(4 * 1_048_576, "x")],
]);

function answer(response, body) {
  response.writeHead(200, { "content-type": "text/plain", "content-length": body.length });
  response.end(body);
}

http
  .createServer((request, response) => {
    if (request.method !== "POST") {
      return answer(response, PAGES.get(request.url) ?? HELLO);
    }
    let length = 0;
    request.on("data", (chunk) => (length += chunk.length));
    request.on("end", () => answer(response, Buffer.from(String(length))));
  })
  .listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
