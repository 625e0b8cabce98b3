/**
 * Interim statuses (RFC 9110, 15.2) as the status of an answer: they end no request, so that who
 * asks would wait without end. Rack, WSGI and ASGI say so themselves; these programs can send one.
 */
import { expect, test } from "bun:test";

import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer } from "./kept-answers.ts";
import { get, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

const program = `require("node:http").createServer((request, response) => {
  const status = Number(request.url.slice(1));
  if (status === 0) response.writeEarlyHints({ link: "</a>; rel=preload" });
  response.writeHead(status || 200, { "content-length": "1" }).end("x");
}).listen(3000);
`;

const ask = (status: number) => get({ SESSION_KEEP: "1", REQUEST_URI: `/${status}` });

test.each([
  ["node", "app.js"],
  ["bun", "server.js"],
] as const)("%s: an interim status as that of an answer ends the session", async (type, file) => {
  const directory = temporaryDirectory();
  const root = writeApp(directory, "app", { [file]: program });
  const instance = await new BareInstance(directory).begin(root, type);
  for (const status of [100, 103, 199]) {
    using session = instance.connect();
    await sendAll(session.number, ask(status));
    expect(await readToEnd(session.number)).not.toMatch(/^Status: [2-9]/m);
  }
  using session = instance.connect();
  for (const _ of [1, 2]) {
    await sendAll(session.number, ask(0));
    expect((await nextAnswer(session)).head).toStartWith("Status: 103 ");
    expect((await nextAnswer(session)).body).toBe("x");
  }
  await instance.end();
});
