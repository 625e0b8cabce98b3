/** A reload after another binary came over the one that runs: the process goes on as that one. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";

import { childrenOf, descriptorsOf } from "../../src/native/process-stat.ts";
import { binaryPath } from "../helpers/binary-server.ts";
import { until, within } from "../helpers/condition.ts";
import {
  type Gateway,
  gatewayEnvironment,
  gateways,
  statusOf,
  writeApplication,
} from "../helpers/gateway.ts";
import { looksAtFiles, pidOf } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const start = gateways();

/** The binary under a name of its own, with one application. */
function install(): { directory: string; program: string; config: string } {
  const directory = temporaryDirectory();
  const program = join(directory, "poolserver");
  copyFileSync(binaryPath, program);
  const root = writeApplication(directory);
  const config = join(directory, "pool.toml");
  writeFileSync(config, `listen = ["127.0.0.1:0"]\n[log]\nlevel = 1\n[[apps]]\nroot = "${root}"\n`);
  return { directory, program, config };
}

/** Puts another file in the program's place, as package managers do. */
function replace(program: string, content: Uint8Array): void {
  writeFileSync(`${program}.new`, content);
  chmodSync(`${program}.new`, 0o755);
  renameSync(`${program}.new`, program);
}

/** The binary, as if another version had been built: all that differs is what it says of that. */
function otherVersion(): Buffer {
  const content = readFileSync(binaryPath);
  const [version = ""] = /\d+\.\d+\.\d+ \(/.exec(runs("--version")) ?? [];
  for (let at = content.indexOf(version); at >= 0; at = content.indexOf(version, at + 1)) {
    content.write("9", at);
  }
  return content;
}

function runs(...args: readonly string[]): string {
  const { stdout, stderr } = Bun.spawnSync([binaryPath, ...args], { env: gatewayEnvironment() });
  return stdout.toString() + stderr.toString();
}

/** Visitors of this process ask on meanwhile: a connection that is not used for 5 s is closed. */
async function reload(gateway: Gateway): Promise<{ status: number; said: string }> {
  const command = [binaryPath, "reload", "--pid", String(gateway.pid)];
  await using child = Bun.spawn(command, { env: gatewayEnvironment(), stderr: "pipe" });
  const said = [await child.stdout.text(), await child.stderr.text()];
  return { status: await child.exited, said: said.join("") };
}

/** Waits until it has but pool server, worker, and so many descriptors at most. @returns these. */
async function onlyItsOwn(gateway: Gateway, most = Infinity): Promise<number> {
  const { pid } = gateway;
  const open = () => descriptorsOf(pid) ?? Infinity;
  await until(
    "only its own are left",
    () => childrenOf(pid).length === 2 && open() <= most,
    () => [gateway.log, childrenOf(pid), open()],
  );
  return open();
}

/** One visitor, who keeps his connection until he is told that it ends. */
class Visitor {
  readonly #port: number;
  readonly failures: string[] = [];
  answers = 0;
  #leaves = false;
  readonly #left = Promise.withResolvers<void>();

  constructor(address: string) {
    this.#port = Number(new URL(address).port);
    this.#connect();
  }

  /** Has him leave after the answer he waits for. */
  leave(): Promise<void> {
    this.#leaves = true;
    return this.#left.promise;
  }

  #connect(): void {
    if (this.#leaves) return this.#left.resolve();
    const socket = connect(this.#port, "127.0.0.1");
    let received = "";
    let isLast = false;
    const ask = (): void => {
      received = "";
      socket.write("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    };
    socket.on("connect", ask);
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      const [head = "", body] = received.split("\r\n\r\n");
      const [, length = ""] = /^content-length: (\d+)$/im.exec(head) ?? [];
      if (body === undefined || body.length < Number(length)) return;
      if (!head.startsWith("HTTP/1.1 200 ")) this.failures.push(head);
      this.answers += 1;
      isLast = this.#leaves || /^connection: close$/im.test(head);
      if (isLast) socket.end();
      else ask();
    });
    socket.on("error", (error) => this.failures.push(String(error)));
    socket.on("close", () => {
      if (!isLast) this.failures.push(`the connection ended; received: '${received}'`);
      this.#connect();
    });
  }
}

test("sixteen visitors notice nothing of it, and the process goes on as the other version", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  const before = { status: await statusOf(gateway), processes: gateway.processes };
  const visitors = Array.from({ length: 16 }, () => new Visitor(address));
  const answers = (): number => visitors.reduce((sum, visitor) => sum + visitor.answers, 0);
  await until("they are served", () => answers() > 500);

  replace(program, otherVersion());
  expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });

  const served = answers();
  await until("they are served by the next", () => answers() > served + 500);
  const after = await statusOf(gateway);
  expect(after).toMatchObject({ generation: 1, pid: gateway.pid, listening: [address] });
  expect(after.version).toBe(before.status.version.replace(/^./, "9"));
  const old = before.processes.map(({ pid }) => pid);
  await until(
    "the processes of the program before are gone",
    () => !gateway.processes.some(({ pid }) => old.includes(pid)),
    () => gateway.log,
  );
  await Promise.all(visitors.map((visitor) => visitor.leave()));
  expect(visitors.flatMap(({ failures }) => failures)).toEqual([]);
  await gateway.end();
});

test("a program that does not run here, or not with this configuration, is refused; all goes on", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  await (await fetch(address)).text();
  const pids = () => gateway.processes.filter((one) => !looksAtFiles(one)).map(({ pid }) => pid);
  const processes = pids();

  const elf = readFileSync(binaryPath);
  elf.writeUInt16LE(0xf3, 18); // e_machine: RISC-V (elf(5))
  for (const content of [elf, Buffer.from("no program\n"), Buffer.from("#!/bin/sh\nexit 3\n")]) {
    replace(program, content);
    const { status, said } = await reload(gateway);
    expect(said).toContain(`the new program '${program}' is not used, this one serves on: `);
    expect(status).toBe(1);
  }
  expect(pids()).toEqual(processes);
  expect(await (await fetch(address)).text()).toStartWith("app / ");

  replace(program, readFileSync(binaryPath));
  expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });
  expect(await (await fetch(address)).text()).toStartWith("app / ");
  expect(await statusOf(gateway)).toMatchObject({ generation: 1 });
  await gateway.end();
});

test("a request under way is finished by the program before; pauses and Unix sockets stay", async () => {
  const { directory, program, config } = install();
  const path = join(directory, "http.sock");
  const toml = readFileSync(config, "utf8").replace("127.0.0.1:0", `unix:${path}`);
  const other = writeApplication(directory, "other");
  const gate = join(directory, "gate");
  writeFileSync(
    join(directory, "app/server.ts"),
    `import { existsSync } from "node:fs";
export default {
  async fetch(request: Request) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/slow") return new Response("quick");
    console.log("slow request begins");
    while (!existsSync("${gate}")) await Bun.sleep(10);
    return new Response("slow");
  },
};
`,
  );
  writeFileSync(config, `${toml}[[apps]]\nroot = "${other}"\nprefix = "/other"\n`);
  const gateway = start(["--config", config], { program });
  await gateway.address();
  const ask = (url: string) => fetch(`http://localhost${url}`, { unix: path });
  const slow = ask("/slow").then((answer) => answer.text());
  await gateway.logged("slow request begins");
  const pause = ["pause", "other", "--refuse", "--pid", String(gateway.pid)];
  expect(runs(...pause)).toBe("other: paused\n");

  replace(program, readFileSync(binaryPath));
  expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });
  expect((await ask("/other/")).status).toBe(503);
  expect(await (await ask("/")).text()).toBe("quick");
  replace(program, readFileSync(binaryPath));
  expect((await reload(gateway)).said).toContain("are still leaving");
  writeFileSync(gate, "");
  expect(await slow).toBe("slow");
  await gateway.end();
});

test("SIGHUP does the same, however often it comes", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  replace(program, readFileSync(binaryPath));
  for (let n = 0; n < 5; n += 1) gateway.signal("SIGHUP");
  await until(
    "it has gone on",
    () => gateway.addresses.length === 2,
    () => gateway.log,
  );
  gateway.signal("SIGHUP");
  await gateway.logged("configuration reloaded");
  expect(await statusOf(gateway)).toMatchObject({ generation: 1, listening: [address] });
  await gateway.end();
});

test("a program that is gone once it was tried changes nothing: signals and commands go on", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  replace(program, Buffer.from('#!/bin/sh\nrm "$0"\necho the configuration is good\n'));
  gateway.signal("SIGHUP");
  await gateway.logged("not gone on as a new program");
  expect(await statusOf(gateway)).toMatchObject({ generation: 0 });
  gateway.signal("SIGHUP");
  await gateway.logged("configuration reloaded");
  expect(await (await fetch(address)).text()).toStartWith("app / ");
  await gateway.end();
});

test("a program that takes the configuration and cannot serve it leaves the process to the one before", async () => {
  const { directory, program, config } = install();
  const path = join(directory, "http.sock");
  const good = readFileSync(config, "utf8").replace(
    '"127.0.0.1:0"',
    `"127.0.0.1:0", "unix:${path}"`,
  );
  writeFileSync(config, good);
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  const { version } = await statusOf(gateway);
  const visitors = Array.from({ length: 8 }, () => new Visitor(address));
  const answers = (): number => visitors.reduce((sum, visitor) => sum + visitor.answers, 0);
  await until("they are served", () => answers() > 100);

  using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const wrong = [
    // Neither is looked at before: by the supervisor's constructor, and by its workers.
    [good.replace("unix:", `127.0.0.1:${taken.port}", "unix:`), "EADDRINUSE"],
    [good.replace("[log]", `[log]\naccess_file = "${directory}/none/access.log"`), "ENOENT"],
  ] as const;
  let generation = 0;
  let descriptors = Infinity;
  for (const [text, cause] of wrong) {
    writeFileSync(config, text);
    replace(program, otherVersion());
    const { status, said } = await reload(gateway);
    expect(said).toContain("the new program did not start, the one before serves on: ");
    expect(said).toContain(cause);
    expect(status).toBe(1);
    const served = answers();
    await until("they are served again", () => answers() > served + 100);
    generation += 2;
    expect(await statusOf(gateway)).toMatchObject({ generation, version, pid: gateway.pid });
    expect(await (await fetch("http://localhost/", { unix: path })).text()).toStartWith("app / ");
    descriptors = await onlyItsOwn(gateway, descriptors);
  }
  await gateway.logged("not gone on as a new program");

  writeFileSync(config, good);
  expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });
  expect(await statusOf(gateway)).toMatchObject({ generation: generation + 1 });
  expect((await statusOf(gateway)).version).toBe(version.replace(/^./, "9"));
  const served = answers();
  await until("they are served by the next", () => answers() > served + 100);
  await Promise.all(visitors.map((visitor) => visitor.leave()));
  expect(visitors.flatMap(({ failures }) => failures)).toEqual([]);
  await gateway.end();
});

test("a pool server that has only just been started is waited for", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  const address = await gateway.address();
  replace(program, readFileSync(binaryPath));
  const { pid: first = 0 } = gateway.poolServer ?? {};
  process.kill(first, "SIGKILL");
  const second = await until("there is another pool server", () => {
    const { pid = first } = gateway.poolServer ?? {};
    return pid !== first && pid;
  });
  process.kill(second, "SIGSTOP");
  const asked = fetch(address);
  gateway.signal("SIGHUP");
  await gateway.logged("goes on as a new program");
  // Unless it took clients before it could be stopped: then there is nothing to wait for.
  await Promise.race([asked, Bun.sleep(300)]);
  process.kill(second, "SIGCONT");
  expect((await within("the answer", asked)).status).toBe(200);
  await until("it has gone on", () => gateway.addresses.length === 2);
  await gateway.end();
});

test("what waits in the pool server before is refused when that dies: no other comes in its place", async () => {
  const { directory, program, config } = install();
  const startup = join(directory, "app/server.ts");
  writeFileSync(startup, `console.log("it starts"); await new Promise(() => {});`);
  const gateway = start(["--config", config], { program });
  const waiting = fetch(await gateway.address());
  await gateway.logged("it starts");
  const first = pidOf(gateway.poolServer);

  replace(program, readFileSync(binaryPath));
  expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });
  process.kill(first, "SIGKILL");
  const answer = await within("the answer", waiting);
  expect(answer.status).toBe(503);
  expect(await answer.text()).toContain("the application server is being restarted");
  await gateway.end();
});

test("no descriptor and no ended child is left of the programs before", async () => {
  const { program, config } = install();
  const gateway = start(["--config", config], { program });
  await gateway.address();
  const goOn = async (most?: number): Promise<number> => {
    replace(program, readFileSync(binaryPath));
    expect(await reload(gateway)).toEqual({ status: 0, said: "reloaded\n" });
    return onlyItsOwn(gateway, most);
  };
  const first = await goOn();
  await goOn(first);
  // Nor of one that is asked for while another is about to come.
  for (let n = 0; n < 20; n += 1) {
    if (n === 0) replace(program, readFileSync(binaryPath));
    gateway.signal("SIGHUP");
    await Bun.sleep(10);
  }
  await until("it has gone on", () => gateway.addresses.length === 4);
  await onlyItsOwn(gateway, first);
  await gateway.end();
});

test("children of nobody's are reaped: a script's, and those of a program that cannot serve", async () => {
  const { directory, program, config } = install();
  const place = join(directory, "mounted");
  mkdirSync(place);
  // With a mount that might hang, helpers look at applications' files.
  const script = `mount -t proc none '${place}' && { sleep 0.1 & exec "$0" "$@"; }`;
  const wrapper = ["unshare", "--mount", "sh", "-c", script];
  const gateway = start(["--config", config], { program, wrapper });
  await gateway.address();
  const descriptors = await onlyItsOwn(gateway);
  using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  writeFileSync(config, readFileSync(config, "utf8").replace(":0", `:${taken.port}`));
  replace(program, readFileSync(binaryPath));
  expect((await reload(gateway)).said).toContain("EADDRINUSE");
  await onlyItsOwn(gateway, descriptors);
  await gateway.end();
});
