// `bench faults`: that its visitors see each way in which a request can fail.

import { expect, test } from "bun:test";

import { load, type Failure } from "../../scripts/bench/load-connection.ts";

const whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const question = { method: "GET", path: "/", body: "", answer: "ok" } as const;

/** A server that answers every request with these bytes, and may then close. */
function answering(bytes: string, closes: boolean) {
  return Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: (socket) => {
        socket.write(bytes);
        if (closes) socket.end();
      },
    },
  });
}

test("what is not the whole right answer is a failure of its kind", async () => {
  const cases: [string, boolean, Failure | undefined][] = [
    [whole, false, undefined],
    [whole.replace("200 OK", "200 OK\r\nConnection: close"), true, undefined],
    [whole.replace("ok", "no"), false, "wrong"],
    [`${whole}!`, false, "wrong"],
    ["HTTP/1.1 200 OK\r\n\r\nok", false, "wrong"],
    [whole.replace("200 OK", "503 Busy"), false, "status 503"],
    [whole.slice(0, -1), true, "cut"],
    ["", true, "unanswered"],
  ];
  for (const [bytes, closes, failure] of cases) {
    using server = answering(bytes, closes);
    const tally = await load(server.port, 2, [question], 20);
    expect(tally.requests).toBeGreaterThan(0);
    expect([...tally.failures]).toEqual(failure === undefined ? [] : [[failure, tally.requests]]);
  }
});

test("nobody who accepts is a failure, too", async () => {
  const server = answering(whole, false);
  const { port } = server;
  server.stop(true);
  const tally = await load(port, 1, [question], 20);
  expect([...tally.failures.keys()]).toEqual(["refused"]);
});
