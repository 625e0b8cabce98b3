/**
 * How long Bun's allocator keeps free memory (src/native/allocator.ts) in workers, and in programs
 * that Bun runs: they see nothing of it, and whoever has chosen has his own.
 */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { type Gateway, gateways } from "../helpers/gateway.ts";
import { environmentOf, pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const variable = "MIMALLOC_PURGE_DELAY";
const asked = `process.env.${variable} ?? "nothing"`;
const program = `const worker = new Worker("data:text/javascript," + encodeURIComponent(
  'onmessage = () => postMessage(${asked})'));
async function inWorker() {
  worker.postMessage("");
  return new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
}
async function inChild(options) {
  const child = Bun.spawn(["sh", "-c", "echo \${${variable}-nothing}"], options);
  return (await child.stdout.text()).trim();
}
export default { async fetch() {
  const inherited = [await inChild(), await inChild({ env: undefined }), await inWorker()];
  return Response.json({ pid: process.pid, said: ${asked}, inherited });
} };
`;

/** Answers with what the program and its children see. @param settings of the application. */
function start(settings: string, environment: Record<string, string> = {}): Gateway {
  const root = temporaryDirectory();
  writeFileSync(join(root, "server.ts"), program);
  const file = join(temporaryDirectory(), "pool.toml");
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n[[apps]]\nroot = "${root}"\n${settings}`);
  return startGateway(["--config", file], { environment });
}

async function ask(gateway: Gateway) {
  const said = await (await fetch(await gateway.address())).json();
  return said as { pid: number; said: string; inherited: string[] };
}

/** What a process was started with; undefined: nothing. */
function givenTo(pid: number): string | undefined {
  const entries = environmentOf(pid).split("\0");
  return entries.find((entry) => entry.startsWith(`${variable}=`))?.slice(variable.length + 1);
}

test("workers and Bun's programs keep it for 2 s; the programs do not see that", async () => {
  const gateway = start("");
  const { pid, ...seen } = await ask(gateway);
  expect(seen).toEqual({ said: "nothing", inherited: ["nothing", "nothing", "nothing"] });
  expect(givenTo(pid)).toBe("2000");
  expect(givenTo(pidOf(gateway.workers[0]))).toBe("2000");
  expect(givenTo(pidOf(gateway.poolServer))).toBeUndefined();
  await gateway.end();
});

test("what an application has chosen holds for it, and is seen", async () => {
  const gateway = start(`env = { ${variable} = "70" }\n`);
  const { pid, ...seen } = await ask(gateway);
  expect(seen).toEqual({ said: "70", inherited: ["70", "70", "70"] });
  expect(givenTo(pid)).toBe("70");
  expect(givenTo(pidOf(gateway.workers[0]))).toBe("2000");
  await gateway.end();
});

test("what the server's environment says holds for all", async () => {
  const gateway = start("", { [variable]: "70" });
  const { pid, ...seen } = await ask(gateway);
  expect(seen).toEqual({ said: "70", inherited: ["70", "70", "70"] });
  expect([pid, pidOf(gateway.workers[0])].map(givenTo)).toEqual(["70", "70"]);
  await gateway.end();
});
