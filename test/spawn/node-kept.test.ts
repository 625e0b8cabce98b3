/** Kept sessions of node applications, and the reports of their ends. */
import { doneReports } from "./done-reports.ts";
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
    "/early": (request, response) => {
      response.write("early ");
      request.on("data", () => {}).on("end", () => response.end("read"));
    },
    "/keep": (request, response) => response.end(Object.keys(request.headers).join()),
    "/wait": (_, response) => response.on("close", () => { gone += 1; }),
    "/gone": (_, response) => response.end(String(gone)),
    "/slow": (_, response) => setTimeout(() => response.end("slow"), 100),
    "/never": () => {},
    "/begin": (_, response) => response.write("a"),
    "/flood": (_, response) => {
      const go = () => { while (response.write(Buffer.alloc(65_536))); };
      response.on("drain", go).on("close", () => response.off("drain", go).end());
      go();
    },
    "/late": (_, response) => {
      console.log("late");
      response.on("close", () => {
        console.log("gone");
        setTimeout(() => { console.log("settled"); response.end(); }, 100);
      });
    },
    "/wrong": (_, response) => {
      response.setHeader("content-length", "10");
      response.end("short");
    },
  };
  require("node:http").createServer((request, response) => paths[request.url](request, response))
    .listen(3000);
`;

keptSessions("node", "app.js", program);
doneReports("node", "app.js", program);
