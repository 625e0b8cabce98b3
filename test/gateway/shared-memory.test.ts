/**
 * What goes out is put together in memory that all share: whatever the kernel does not take of one
 * visitor's bytes stays his, while others' are put together there.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { ProxiedGateway, RawVisitor } from "./proxied.ts";
import { configOf, gateways } from "./support.ts";

const startGateway = gateways();
const temporaryDirectory = temporaryDirectories();

const letters = ["a", "b", "c", "d"];
const size = 2_000_000;

/** @returns each run of one letter, once. */
function runs(text: string): string {
  return text.replace(/(.)\1+/gs, "$1");
}

test("bodies that go to instances side by side are each their own", async () => {
  const limits = { ...configOf().limits, maxBodyBytes: 0 };
  const gateway = startGateway({ limits });
  const visitors = await Promise.all(letters.map(() => RawVisitor.connect(gateway.port)));
  const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`;
  await Promise.all(
    visitors.map((visitor, index) =>
      visitor.sendAll([Buffer.from(head + (letters[index] ?? "").repeat(size))]),
    ),
  );
  await until("all have come", () => gateway.reached.length === letters.length);
  const bodies = gateway.reached.map(({ body }) => body);
  expect(bodies.map((body) => body.length)).toEqual(letters.map(() => size));
  expect(bodies.map(runs).toSorted()).toEqual(letters);
  for (const visitor of visitors) visitor.leave();
});

const pieces = 150;
/** An answer that comes in pieces small enough to be put together with others'; `/x` is one. */
const program = `
  const pause = () => new Promise((resolve) => setTimeout(resolve, 2));
  export default { fetch: (request) => {
    const letter = request.url.at(-1);
    const pieces = letter === "x" ? 1 : ${pieces};
    const piece = new Uint8Array(60_000).fill(letter.charCodeAt(0));
    return new Response((async function* () {
      for (let i = 0; i < pieces; i += 1) { yield piece; await pause(); }
    })(), { headers: { "content-length": pieces * 60_000 } });
  } };
`;

test("answers that find no room in a spool are each their own", async () => {
  const before = process.env["TMPDIR"];
  await using gateway = ProxiedGateway.start(temporaryDirectory(), { main: program });
  await (await gateway.fetch("/x")).text();
  process.env["TMPDIR"] = join(temporaryDirectory(), "absent");
  try {
    const visitors = await Promise.all(letters.map(() => gateway.connect()));
    for (const visitor of visitors) visitor.pause();
    for (const [index, visitor] of visitors.entries()) visitor.get(`/${letters[index]}`);
    // As long as the pieces would take to come, and more.
    for (let i = 0; i < pieces; i += 1) expect(runs(await readX(gateway))).toBe("x");
    for (const visitor of visitors) visitor.resume();
    for (const [index, visitor] of visitors.entries()) {
      const bodyOf = () => visitor.received.slice(visitor.received.indexOf("\r\n\r\n") + 4);
      await until("all of it has come", () => bodyOf().length >= pieces * 60_000);
      expect(runs(bodyOf())).toBe(letters[index] ?? "");
      visitor.leave();
    }
  } finally {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  }
});

async function readX(gateway: ProxiedGateway): Promise<string> {
  return (await gateway.fetch("/x")).text();
}
