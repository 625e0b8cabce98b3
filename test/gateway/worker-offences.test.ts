/**
 * A worker is not trusted: what it says on its control channel is bounded and has its time, else it
 * is ended and replaced. The test speaks with a worker's own descriptor, as who has taken it over.
 */
import { expect, test } from "bun:test";

import { figureCount } from "../../src/wire/request-figures.ts";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { pidOf, untilGone } from "../helpers/processes.ts";
import { sendAll, takeDescriptor } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const row = JSON.stringify(Array.from({ length: figureCount }, () => 1));
const figures = `{"kind":"figures","apps":[["app",${row}]],"idle":[],"isLast":false}`;

const offences: readonly (readonly [string, string])[] = [
  ["what is no JSON", "nonsense\n"],
  ["what is no message", '{"kind":"register"}\n'],
  ["nothing", "null\n"],
  ["an answer that nobody has asked for, a hundred times", '{"kind":"pong"}\n'.repeat(100)],
  ["that it is ready, again", '{"kind":"ready"}\n'],
  ["that it has failed, later", '{"kind":"failed","why":"so"}\n'],
  ["that it leaves, and again", '{"kind":"leaves"}\n{"kind":"leaves"}\n'],
  [
    "figures that are no numbers",
    '{"kind":"figures","apps":[["app",[null]]],"idle":[],"isLast":true}\n',
  ],
  ["sessions that are no number", '{"kind":"figures","apps":[],"idle":[[7]],"isLast":true}\n'],
  ["figures of nobody", `{"kind":"figures","apps":[["other",${row}]],"idle":[],"isLast":true}\n`],
  ["figures that nobody has asked for, a hundred times", `${figures}\n`.repeat(100)],
  ["last figures twice", '{"kind":"figures","apps":[],"idle":[],"isLast":true}\n'.repeat(2)],
  // No blanks: those in front of a message of the worker's own would be a part of that.
  ["a message without an end", "x".repeat(5 * 2 ** 20)],
  ["a message that is too long", `${"x".repeat(5 * 2 ** 20)}\n`],
];

test.skipIf(process.geteuid?.() !== 0).each([...offences])(
  "a worker that says %s is ended and replaced",
  async (_, text) => {
    const gateway = startGateway([
      writeApplication(temporaryDirectory()),
      "--listen",
      "127.0.0.1:0",
    ]);
    const address = await gateway.address();
    const worker = pidOf(gateway.workers[0]);
    {
      using control = takeDescriptor(worker, 4);
      // What is too long may be refused before it is all sent.
      await sendAll(control.number, Buffer.from(text)).catch((error: unknown) => {
        expect(error).toMatchObject({ code: "EPIPE" });
      });
    }
    await untilGone(worker);
    const line = `worker ended for what it says pid=${worker}`;
    await until("it is logged", () => gateway.log.includes(line));
    await until("its end is, too", () => gateway.log.includes(`worker died pid=${worker}`));
    expect(gateway.log.split(line)).toHaveLength(2);
    const answer = await fetch(address, { keepalive: false });
    expect(await answer.text(), gateway.log).toStartWith("app / ");
    await gateway.end();
  },
);
