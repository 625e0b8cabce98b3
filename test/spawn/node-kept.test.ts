/** Kept sessions of node applications. */
import { keptSessions } from "./kept-sessions.ts";

const program = `
  let gone = 0;
  const paths = {
    "/text": (_, response) => response.end("text"),
    "/stream": (_, response) => {
      response.write("a");
      setTimeout(() => response.end("b"), 2);
    },
    "/none": (_, response) => response.writeHead(204).end(),
    "/echo": (request, response) => {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => response.end(Buffer.concat(parts)));
    },
    "/ignore": (_, response) => response.end("ignored"),
    "/keep": (request, response) => response.end(Object.keys(request.headers).join()),
    "/wait": (_, response) => response.on("close", () => { gone += 1; }),
    "/gone": (_, response) => response.end(String(gone)),
    "/slow": (_, response) => setTimeout(() => response.end("slow"), 100),
    "/wrong": (_, response) => {
      response.setHeader("content-length", "10");
      response.end("short");
    },
  };
  require("node:http").createServer((request, response) => paths[request.url](request, response))
    .listen(3000);
`;

keptSessions("node", "app.js", program);
