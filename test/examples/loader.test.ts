/** The example of a loader for another language, started as the built-in spawner starts its own. */
import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";

import {
  type InstanceProcess,
  type InstanceProcessOptions,
  makeInstance,
} from "../../src/spawn/builtin/instance-process.ts";
import { startProcess } from "../../src/spawn/builtin/running-process.ts";
import { launchCommand } from "../../src/spawn/launch-plan.ts";
import { fromText, type ByteString } from "../../src/wire/bytes.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { isRunning } from "../helpers/processes.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { get, parseAnswer, post, writeApp } from "../spawn/support.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();
const loader = `${import.meta.dir}/../../examples/loaders/loader.pl`;

const program = `
sub {
    my ($variables, $body) = @_;
    die "no luck today\\n" if $variables->{REQUEST_URI} eq '/fail';
    return ('201 Created', ['content-type', 'text/plain'], "$$ $body");
};
`;

async function start(text: string): Promise<{ instance: InstanceProcess; lines: ByteString[] }> {
  const directory = temporaryDirectory();
  const root = writeApp(directory, "app", { "app.pl": text });
  mkdirSync(`${directory}/sockets`);
  const argv = ["perl", loader, "app.pl"].map(fromText);
  const plan = { argv, directory: { path: fromText(root) }, variables: [], isInstance: true };
  const lines: ByteString[] = [];
  const never = new AbortController().signal;
  const times = { retiredMs: 5_000, shutdownMs: 5_000, terminatedMs: 1_000 };
  const options: InstanceProcessOptions = {
    socketPlace: { directory: `${directory}/sockets`, name: "1" },
    urgency: { times, shutdown: never, hurry: never },
    writeLine: (_pid, line) => lines.push(line),
  };
  const instance = await makeInstance(options, (inherited) =>
    startProcess(launchCommand(plan), inherited),
  );
  return { instance, lines };
}

async function ask(instance: InstanceProcess, request: Uint8Array) {
  const session = instance.connect();
  if (session === "full") throw new Error("the backlog is full");
  using open = session;
  await sendAll(open.number, request);
  return parseAnswer(await readToEnd(open.number));
}

test("the Perl loader serves sessions, survives a failing one, and leaves with its lifeline", async () => {
  const { instance, lines } = await start(program);
  expect(await instance.lifeline.announced).toMatchObject({ kind: "ready", concurrency: 1 });
  expect(await ask(instance, post("a body"))).toEqual({
    status: "Status: 201 Created",
    headers: ["content-length: " + `${instance.pid} a body`.length, "content-type: text/plain"],
    body: `${instance.pid} a body`,
  });
  // Who wants to keep the session is told that it ends.
  const { headers } = await ask(instance, get({ SESSION_KEEP: "1" }));
  expect(headers[0]).toBe("connection: close");
  const failed = await ask(instance, get({ REQUEST_URI: "/fail" }));
  expect(failed.status).toBe("Status: 500 Internal Server Error");
  expect((await ask(instance, get({ REQUEST_METHOD: "HEAD" }))).body).toBe("");
  await within("its end", instance.end(5_000));
  expect(isRunning(instance.pid)).toBe(false);
  await until("what it said is read", () => lines.length > 0);
  expect(lines.map(String)).toEqual(["no luck today"]);
});

test("the Perl loader says why a program cannot be loaded", async () => {
  const { instance } = await start('die "no luck today\\n";');
  const said = await instance.lifeline.announced;
  if (said?.kind !== "failed") throw new Error("it did not fail");
  expect(Buffer.from(said.text).toString()).toBe("app.pl: no luck today\n");
  await within("its end", instance.end(5_000));
});
