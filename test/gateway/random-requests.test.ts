/**
 * Random requests, many on a connection, in random pieces, through all of the gateway to an
 * application that says what it was asked, and back. HTTP_SEED=n repeats one seed.
 */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { METHODS } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";

import { within } from "../helpers/condition.ts";
import { gateways } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { compose } from "../http/composed.ts";
import type { FramedRequest } from "../http/frames.ts";
import { Random } from "../http/random.ts";
import { answersIn } from "../http/raw/answers.ts";
import type { Reached } from "../http/raw/case.ts";
import { echoes, type Echo } from "../http/raw/echo.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Sends the pieces with pauses between some, then ends its side. @returns all that comes. */
async function send(port: number, pieces: readonly Uint8Array[], random: Random): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  const received: Buffer[] = [];
  socket.on("data", (data: Buffer) => received.push(data));
  const ended = new Promise((resolve, reject) => {
    socket.once("end", resolve);
    socket.once("error", reject);
  });
  for (const piece of pieces) {
    socket.write(piece);
    if (random.below(3) === 0) await Bun.sleep(random.below(10));
  }
  socket.end();
  await within("the end of the answers", ended);
  return Buffer.concat(received).toString("latin1");
}

/** What the application says it was asked, of the answers that are its own. */
function echoed(answered: string): object[] {
  const lines = answered.matchAll(/^\{.*\}$/gm);
  return Array.from(lines, ([line]) => {
    const { m, u, b } = JSON.parse(line) as Reached;
    const body = Buffer.from(b, "base64").toString("latin1");
    return { method: m, target: u.replace(/^https?:\/\/[^/?#]*/, ""), body };
  });
}

/** What an application can be told by its runtime; Bun's Request changes or drops the rest. */
const takes: Readonly<Record<Echo["type"], (request: FramedRequest) => boolean>> = {
  rack: () => true,
  wsgi: () => true,
  node: ({ method }) => METHODS.includes(method),
  bun: ({ method, target, body }) =>
    METHODS.includes(method) && !target.includes("'") && (method !== "GET" || body === ""),
};

async function run(seed: number, port: number, type: Echo["type"]): Promise<void> {
  const random = new Random(seed);
  const composed = Array.from({ length: 1 + random.below(12) }, () => compose(random)).filter(
    ({ request }) => takes[type](request),
  );
  if (composed.length === 0) return;
  const bytes = Buffer.from(composed.map(({ text }) => text).join(""), "latin1");
  const pieces = random.cut(bytes, 1 + random.below(15));
  const answered = await send(port, pieces, random);
  const methods = composed.map(({ request }) => request.method);
  // Who has ended his side may be sent interim answers meanwhile.
  const finals = answersIn(answered, methods).filter(({ status }) => status >= 200);
  const statuses = finals.map(({ status }) => status);
  expect({ seed, statuses }).toEqual({ seed, statuses: methods.map(() => 200) });
  const asked = composed.map(({ request: { method, target, body } }) => ({ method, target, body }));
  expect({ seed, echoed: echoed(answered) }).toEqual({ seed, echoed: asked });
}

const only = process.env["HTTP_SEED"];
const seeds = only === undefined ? Array.from({ length: 200 }, (_, n) => n + 1) : [Number(only)];
const atOnce = 20;

for (const { type, file, text } of echoes) {
  test(`${type}: random requests arrive as they were sent, and are answered in their order`, async () => {
    const root = join(temporaryDirectory(), "app");
    mkdirSync(root);
    writeFileSync(join(root, file), text);
    const args = [root, "--listen", "127.0.0.1:0", "--access-log", "off"];
    const gateway = startGateway(args, { environment: { REACHED: "/dev/null" } });
    const port = Number(new URL(await gateway.address()).port);
    const waiting = [...seeds];
    const work = async (): Promise<void> => {
      for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
        await run(seed, port, type);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    await gateway.end();
  });
}
