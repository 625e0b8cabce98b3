/** Programs for the tests of the node loader, as the text of their app.js. */

/** A program of node:http; the path chooses what it does. */
export const application = `
  const http = require("node:http");
  const gone = [];
  const text = (request) => new Promise((resolve, reject) => {
    let all = "";
    request.setEncoding("latin1").on("data", (part) => { all += part; });
    request.on("end", () => resolve(all)).on("error", reject);
  });
  const paths = {
    "/echo": async (request, response) => {
      const { method, url, headers, rawHeaders, httpVersion, socket } = request;
      const { remoteAddress, remotePort, localPort, encrypted } = socket;
      const body = await text(request);
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ method, url, headers, rawHeaders, httpVersion, body,
        complete: request.complete, remoteAddress, remotePort, localPort, encrypted }));
    },
    "/pid": (_, response) => response.end(String(process.pid)),
    "/cookies": (_, response) => {
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.writeHead(201, "As You Like", { "X-One": "1" });
      response.end("x");
    },
    "/raw": (_, response) => response.writeHead(200, ["X-A", "1", "X-A", "2"]).end("raw"),
    "/connection": (_, response) => {
      response.setHeader("Connection", "close, X-Hop").setHeader("Keep-Alive", "timeout=9");
      response.setHeader("Transfer-Encoding", "chunked").setHeader("Status", "404");
      response.setHeader("x-hop", "1");
      response.end("framed");
    },
    "/text": (_, response) => response.end("t\\u00ebxt"),
    "/none": (_, response) => response.writeHead(204).end(),
    "/empty": (_, response) => response.end(),
    "/not-modified": (_, response) => response.writeHead(304).end(),
    "/big": (_, response) => response.end("x".repeat(5_000_000)),
    "/stream": (_, response) => {
      response.write("text ");
      setTimeout(() => response.end(Buffer.from("bytes")), 5);
    },
    "/trailers": (_, response) => {
      response.writeHead(200, { Trailer: "x-sum" }).write("with ");
      response.addTrailers({ "x-sum": "1" });
      response.end("trailers");
    },
    "/interim": (_, response) => {
      response.writeContinue(); response.writeProcessing();
      const last = () => response.end("final");
      // Not in the first versions of Node 18.
      if (response.writeEarlyHints === undefined) last();
      else response.writeEarlyHints({ link: "</a>; rel=preload" }, last);
    },
    "/short": (_, response) => {
      response.setHeader("content-length", "10"); response.end("short");
    },
    "/fail": (_, response) => { response.write("begin"); setTimeout(() => response.destroy(), 5); },
    "/inject": (_, response) => {
      const bad = "a\\r\\nX-Evil: 1";
      const errors = [() => response.setHeader("x", bad), () => response.writeHead(200, { x: bad })]
        .map((run) => { try { run(); return "none"; } catch (error) { return error.code; } });
      response.end(errors.join());
    },
    "/ignore": (_, response) => response.end("did not read"),
    "/count": async (request, response) => {
      let bytes = 0;
      for await (const chunk of request) bytes += chunk.length;
      response.end(String(bytes));
    },
    "/slow-reader": (request, response) => {
      // Nothing is read until another request says so.
      request.pause(); slow = { request, response };
    },
    "/peek": (_, response) => response.end(String(slow?.request.socket.bytesRead ?? 0)),
    "/read": (_, response) => {
      const before = slow.request.socket.bytesRead;
      let bytes = 0;
      slow.request.on("data", (chunk) => { bytes += chunk.length; });
      slow.request.on("end", () => slow.response.end(String(bytes)));
      slow.request.resume();
      response.end(String(before));
    },
    "/wait": (request, response) => {
      request.on("aborted", () => gone.push("aborted"));
      request.on("close", () => gone.push("request close"));
      response.on("close", () => gone.push("response close " + response.writableFinished));
    },
    "/gone": (_, response) => response.end(gone.splice(0).sort().join()),
    "/endless": (_, response) => {
      const write = () => { while (response.write("x".repeat(10_000))); };
      response.on("drain", write).on("close", () => gone.push("response close")); write();
    },
    "/timeout": (request, response) => {
      response.setTimeout(20, () => response.end("timed out"));
    },
    "/address": (_, response) => response.end(JSON.stringify(server.address())),
    "/close": (_, response) => { server.close(); response.end("closing"); },
  };
  let slow;
  const server = http.createServer((request, response) => {
    const answer = paths[request.url.split("?")[0]];
    if (answer === undefined) response.writeHead(404).end("no"); else answer(request, response);
  });
  server.listen(1, "0.0.0.0");
`;
