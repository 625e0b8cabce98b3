/** Where `serve` listens: TCP, Unix sockets, and sockets that systemd passes. */
import { expect, test } from "bun:test";
import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type ControlCommandName, controlCommandNames } from "../../src/cli/arguments.ts";
import { readServeArguments } from "../../src/cli/serve-options.ts";
import { Listener, setSocketMode } from "../../src/gateway/supervisor/listeners.ts";
import { listenTcp, localAddress } from "../../src/native/listening-socket.ts";
import { listenUnix, pathAddress } from "../../src/native/socket.ts";
import { binaryPath, plainEnvironment } from "../helpers/binary-server.ts";
import { until } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

/** Runs `serve` to its end, which has to come by itself. */
function refused(...args: string[]): { status: number; stderr: string } {
  const child = Bun.spawnSync([binaryPath, "serve", ...args], {
    env: plainEnvironment,
    timeout: 10_000,
  });
  return { status: child.exitCode, stderr: child.stderr.toString() };
}

test("a Unix socket: its permissions, several workers on it, and no file left", async () => {
  const directory = temporaryDirectory();
  const socket = join(directory, "http.sock");
  const gateway = startGateway([
    writeApplication(directory),
    "--listen",
    `unix:${socket}`,
    "--workers",
    "2",
  ]);
  expect(await gateway.address()).toBe(`unix:${socket}`);
  expect(lstatSync(socket).mode & 0o777).toBe(0o660);
  for (let i = 0; i < 10; i += 1) {
    const answer = await fetch("http://localhost/x", { unix: socket, keepalive: false });
    expect(await answer.text()).toStartWith("app /x ");
  }
  await gateway.end();
  expect(existsSync(socket)).toBe(false);
});

test("a socket that somebody has left behind is replaced", async () => {
  const directory = temporaryDirectory();
  const socket = join(directory, "http.sock");
  listenUnix(pathAddress(socket), 1).close();
  const gateway = startGateway([writeApplication(directory), "--listen", `unix:${socket}`]);
  await gateway.address();
  await gateway.end();
});

test("a socket that somebody listens on, or another file there, is left alone: exit 1", async () => {
  const directory = temporaryDirectory();
  const app = writeApplication(directory);
  const socket = join(directory, "http.sock");
  using listener = listenUnix(pathAddress(socket), 1);
  expect(listener.open).toBe(true);
  const taken = refused(app, "--listen", `unix:${socket}`);
  expect(taken.status).toBe(1);
  expect(taken.stderr).toContain(`listen on unix:${socket}: process ${process.pid} (`);
  expect(existsSync(socket)).toBe(true);
  const file = join(directory, "file");
  writeFileSync(file, "");
  const other = refused(app, "--listen", `unix:${file}`);
  expect(other.status).toBe(1);
  expect(other.stderr).toContain("there is another file");
});

test("a file that has taken the socket's place is not deleted at the end", async () => {
  const directory = temporaryDirectory();
  const socket = join(directory, "http.sock");
  const gateway = startGateway([writeApplication(directory), "--listen", `unix:${socket}`]);
  await gateway.address();
  Bun.spawnSync(["rm", socket]);
  writeFileSync(socket, "somebody else's");
  await gateway.end();
  expect(existsSync(socket)).toBe(true);
});

test("a socket that another gateway has made since is left alone, whatever its number", () => {
  const path = join(temporaryDirectory(), "http.sock");
  const address = { kind: "unix", path, mode: 0o600 } as const;
  const first = Listener.open(address, 1);
  first.close();
  // File systems such as ext4 give the number of the file that is gone to the next.
  const second = Listener.open(address, 1);
  first.close();
  expect(existsSync(path)).toBe(true);
  second.close();
  expect(existsSync(path)).toBe(false);
});

test("permissions are given to a socket of ours, and not through a link in its place", () => {
  const directory = temporaryDirectory();
  const [socket, file, link] = ["socket", "file", "link"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  using listener = listenUnix(pathAddress(socket), 1);
  expect(listener.open).toBe(true);
  setSocketMode(socket, 0o604);
  expect(lstatSync(socket).mode & 0o777).toBe(0o604);
  writeFileSync(file, "", { mode: 0o600 });
  symlinkSync(file, link);
  for (const path of [file, link]) {
    expect(() => setSocketMode(path, 0o666)).toThrow("somebody has put another file in its place");
  }
  expect(lstatSync(file).mode & 0o777).toBe(0o600);
});

test("a port in use is refused, also when it is a gateway of the same user that uses it", async () => {
  const directory = temporaryDirectory();
  const app = writeApplication(directory);
  const path = join(directory, "http.sock");
  const gateway = startGateway([app, "--listen", "127.0.0.1:0", "--listen", `unix:${path}`]);
  const address = (await gateway.address()).slice("http://".length);
  // Its workers listen there as well, but it is the one to end.
  const gatewayListens = `process ${gateway.pid} (ApplicationPool) listens there`;
  const second = refused(app, "--listen", address);
  expect(second.status).toBe(1);
  expect(second.stderr).toContain(`listen on ${address}: EADDRINUSE: ${gatewayListens}`);
  expect(refused(app, "--listen", `unix:${path}`).stderr).toContain(gatewayListens);
  // Whoever may not see the process is told whose it is.
  const ofNobody = ["setpriv", "--reuid=65534", "--clear-groups", binaryPath, "serve", app];
  const port = address.slice(address.indexOf(":"));
  const places = process.geteuid?.() === 0 ? [address, `*${port}`] : [];
  for (const place of places) {
    const third = Bun.spawnSync([...ofNobody, "--listen", place], {
      env: plainEnvironment,
      timeout: 10_000,
    });
    expect(third.stderr.toString()).toContain(": EADDRINUSE: a process of root listens there");
  }
  await gateway.end();
});

test("an address this machine does not have: exit 1 with the reason", () => {
  const app = writeApplication(temporaryDirectory());
  const { status, stderr } = refused(app, "--listen", "192.0.2.1:80");
  expect(status).toBe(1);
  expect(stderr).toContain("listen on 192.0.2.1:80: EADDRNOTAVAIL");
});

/** A shell that does what systemd does: LISTEN_PID is the process that it becomes. */
const activate = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"'];

test("sockets that systemd passes take the place of addresses, TCP and Unix", async () => {
  const directory = temporaryDirectory();
  const path = join(directory, "s");
  const [tcp] = listenTcp({ kind: "tcp", host: "127.0.0.1", port: 0 }, 1);
  if (tcp === undefined) throw new Error("no socket");
  using first = tcp;
  using second = listenUnix(pathAddress(path), 16);
  const { port } = localAddress(first.number) as { port: number };
  const gateway = startGateway([writeApplication(directory), "--workers", "2"], {
    wrapper: activate,
    environment: { LISTEN_FDS: "2", LISTEN_FDNAMES: "http:other" },
    descriptors: [first.number, second.number],
  });
  expect(await gateway.address()).toBe(`http://127.0.0.1:${port}`);
  await until("both are named", () => gateway.addresses.includes(`unix:${path}`));
  expect(await (await fetch(`http://127.0.0.1:${port}/tcp`)).text()).toStartWith("app /tcp ");
  const overUnix = await fetch("http://localhost/unix", { unix: path });
  expect(await overUnix.text()).toStartWith("app /unix ");
  await gateway.end();
  expect(existsSync(path)).toBe(true);
});

test("the units in examples/serve name only what there is", () => {
  const unit = readFileSync(
    join(import.meta.dir, "../../examples/serve/application-pool.service"),
    "utf8",
  );
  const commands = Array.from(
    unit.matchAll(/^Exec\w+=\S*ApplicationPoolServerExecutable (.*)$/gm),
    ([, words = ""]) => words.split(" "),
  );
  expect(commands).toHaveLength(2);
  for (const [command, ...args] of commands) {
    if (command === "serve") expect(() => readServeArguments(args)).not.toThrow();
    else expect(controlCommandNames).toContain(command as ControlCommandName);
  }
});

test("a passed descriptor on which nothing can be accepted: exit 1", () => {
  const app = writeApplication(temporaryDirectory());
  const child = Bun.spawnSync([...activate, binaryPath, "serve", app], {
    env: { ...plainEnvironment, LISTEN_FDS: "1" },
    stdio: ["ignore", "pipe", "pipe", "ignore"],
  });
  expect(child.exitCode).toBe(1);
  expect(child.stderr?.toString()).toContain("descriptor 3 of LISTEN_FDS cannot be used");
});
