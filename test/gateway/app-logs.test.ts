/** Logs of one application: its file, its journal; nothing forged, lost, or written elsewhere. */
import { afterEach, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { until } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();
const isRoot = process.geteuid?.() === 0;

/** An application that writes the body of each request, as bytes, before it answers. */
const echo = `
  const { writeSync } = require("fs");
  export default { async fetch(request) {
    const bytes = Buffer.from(await request.arrayBuffer());
    for (let at = 0; at < bytes.length;) at += writeSync(1, bytes, at);
    return new Response("written");
  } };`;

interface Scene {
  readonly directory: string;
  readonly file: string;
  readonly gateway: Gateway;
  readonly config: string;
}

/** A gateway with the application `shop`, whose log is as said, and `blog`, which has none. */
function serving(log = "logs/shop.log", prepare?: (directory: string) => void): Scene {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "logs"));
  for (const name of ["shop", "blog"]) {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "server.js"), echo);
  }
  prepare?.(directory);
  const config = join(directory, "pool.toml");
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\nlog = { access = "off" }\n` +
      `[[apps]]\nroot = "shop"\nprefix = "/shop"\ntype = "bun"\nlog = "${log}"\n` +
      `[[apps]]\nroot = "blog"\nprefix = "/blog"\ntype = "bun"\n`,
  );
  const gateway = startGateway(["--config", config]);
  return { directory, file: join(directory, log), gateway, config };
}

async function say({ gateway }: Scene, app: string, text: string | Uint8Array): Promise<void> {
  const body = typeof text === "string" ? text : Buffer.from(text);
  const answer = await fetch(`${await gateway.address()}/${app}/`, { method: "POST", body });
  expect(await answer.text()).toBe("written");
}

/** The file's lines, without the prefix, which each of them has. */
function linesOf({ directory }: Scene, file: string): string[] {
  const text = existsSync(file) ? readFileSync(file, "latin1") : "";
  const start = new RegExp(
    `^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z \\[${directory}/shop \\d+\\] `,
  );
  return text.split("\n").flatMap((line, index, all) => {
    if (index === all.length - 1) {
      expect(line).toBe("");
      return [];
    }
    expect(line).toMatch(start);
    return [line.replace(start, "")];
  });
}

test("an application's file has its lines and nobody else's, for its owner and group", async () => {
  const scene = serving();
  await say(scene, "shop", "from the shop\n");
  await say(scene, "blog", "from the blog\n");
  await until("it is written", () => linesOf(scene, scene.file).includes("from the shop"));
  await until("the other is in the log of all", () =>
    /\/blog \d+\] from the blog$/m.test(scene.gateway.log),
  );
  expect(linesOf(scene, scene.file)).toEqual(["from the shop"]);
  expect(scene.gateway.log).not.toContain("from the shop");
  expect(statSync(scene.file).mode & 0o777).toBe(0o640);
  await scene.gateway.end();
});

test("no line can be forged, whatever an application writes", async () => {
  const scene = serving();
  const { directory } = scene;
  const forged = `2026-11-25T19:04:15.000Z [${directory}/blog 4711] forged`;
  await say(scene, "shop", `${forged}\nseen\r${forged}\r\n\x1b[2K\x1b[1A${forged}\n`);
  await say(scene, "shop", `\x9b1A\xc2\x9b1A nul \0 bell \x07 tab\t \x1b[1;31mred\x1b[0m\n`);
  await say(scene, "shop", Buffer.from("half a li"));
  await say(scene, "shop", Buffer.from("ne\nlast"));
  await until("it is written", () => linesOf(scene, scene.file).length >= 5);
  const text = readFileSync(scene.file, "utf8");
  // oxlint-disable-next-line no-control-regex -- what must not be there
  expect(text.replace(/\x1b\[[0-9;]*m/g, "")).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  expect(linesOf(scene, scene.file).slice(0, 3)).toEqual([
    forged,
    `seen\\r${forged}`,
    `\\x1b[2K\\x1b[1A${forged}`,
  ]);
  expect(linesOf(scene, scene.file)[4]).toBe("half a line");
  await scene.gateway.end();
  expect(linesOf(scene, scene.file).at(-1)).toBe("last");
});

test("a line of ten megabytes is cut in pieces, each with the prefix, and what is too much said", async () => {
  const scene = serving();
  await say(scene, "shop", Buffer.alloc(10 * 1024 * 1024, "x"));
  await say(scene, "shop", "\nthe next\n");
  await until("it is said", () => {
    return linesOf(scene, scene.file).some((line) => /^\(\d+ bytes of output were drop/.test(line));
  });
  const pieces = linesOf(scene, scene.file).filter((line) => line.startsWith("x"));
  expect(pieces.length).toBeGreaterThan(100);
  expect(Math.max(...pieces.map((line) => line.length))).toBe(8 * 1024);
  await scene.gateway.end();
});

test("rotation under load loses no line", async () => {
  const scene = serving();
  const { file, gateway } = scene;
  const names: string[] = [];
  const perRequest = 300;
  for (let round = 0; round < 12; round += 1) {
    const lines = Array.from({ length: perRequest }, (_, n) => `line ${round * perRequest + n}\n`);
    const said = say(scene, "shop", lines.join(""));
    if (round % 3 === 1) {
      await until("there is a file", () => existsSync(file));
      const name = `${file}.${round}`;
      renameSync(file, name);
      names.push(name);
      gateway.signal("SIGUSR1");
    }
    await said;
  }
  const all = () => [...names, file].flatMap((name) => linesOf(scene, name));
  const wanted = Array.from({ length: 12 * perRequest }, (_, n) => `line ${n}`);
  await until("all of it is there", () => all().length >= wanted.length);
  expect(all()).toEqual(wanted);
  expect(names).toHaveLength(4);
  await gateway.end();
});

test("what is no place for a log keeps a gateway from starting, with one line", async () => {
  const unfit: readonly [log: string, why: string, prepare?: (directory: string) => void][] = [
    ["missing/shop.log", "'.*/missing' is no directory"],
    ["logs/fifo", "ENXIO", (directory) => void Bun.spawnSync(["mkfifo", `${directory}/logs/fifo`])],
    ["logs", "EISDIR"],
    ["journald:none", "there is no socket '.*/none'"],
  ];
  for (const [log, why, prepare] of unfit) {
    const { gateway } = serving(log, prepare);
    expect(await gateway.ended, log).not.toBe(0);
    await until(
      "it says why",
      () => new RegExp(why).test(gateway.log),
      () => gateway.log,
    );
    expect(gateway.log.trim().split("\n")).toHaveLength(1);
  }
});

test.skipIf(!isRoot)("a tenant's links lead root to no other file", async () => {
  const tenant = 1234;
  const ours = (directory: string) => {
    writeFileSync(join(directory, "secret"), "", { mode: 0o600 });
    chownSync(join(directory, "logs"), tenant, tenant);
  };
  const lead: readonly ((file: string, secret: string) => void)[] = [
    (file, secret) => {
      symlinkSync(secret, file);
      Bun.spawnSync(["chown", "-h", `${tenant}:${tenant}`, file]);
    },
    (file, secret) => linkSync(secret, file),
  ];
  for (const link of lead) {
    const scene = serving("logs/shop.log", (directory) => {
      ours(directory);
      link(join(directory, "logs/shop.log"), join(directory, "secret"));
    });
    expect(await scene.gateway.ended).toBe(1);
    await scene.gateway.logged(`belongs to user ${tenant}, and may lead anywhere`);
  }
  for (const link of lead) {
    const scene = serving("logs/shop.log", ours);
    const secret = join(scene.directory, "secret");
    await say(scene, "shop", "before\n");
    await until("it is written", () => linesOf(scene, scene.file).includes("before"));
    renameSync(scene.file, `${scene.file}.1`);
    link(scene.file, secret);
    scene.gateway.signal("SIGUSR1");
    await until("it is said", () => scene.gateway.log.includes("log not reopened"));
    await say(scene, "shop", "after\n");
    await until("the old one has it", () => linesOf(scene, `${scene.file}.1`).includes("after"));
    expect(readFileSync(secret, "utf8")).toBe("");
    await scene.gateway.end();
  }
});

test.skipIf(!isRoot)(
  "a full disk costs lines, which are counted, and holds nobody up",
  async () => {
    let disk = "";
    const mounted = (directory: string) => {
      disk = join(directory, "logs");
      Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk]);
    };
    const scene = serving("logs/shop.log", mounted);
    try {
      const text = "full of it\n".repeat(6_000);
      for (let round = 0; round < 6; round += 1) await say(scene, "shop", text);
      await until("it is full", () => statSync(scene.file).size > 250_000);
      await say(scene, "blog", "the other goes on\n");
      for (let round = 0; round < 3; round += 1) await say(scene, "shop", text);
      let before = "";
      await until("there is room, and it is said what there was none for", async () => {
        const now = readFileSync(scene.file, "latin1");
        const all = before + now;
        if (now.length > 200_000) {
          before = all;
          truncateSync(scene.file);
        }
        await say(scene, "shop", "there is room again\n");
        return now.includes("room again") && /^\(\d+ lines were not logged: no room\)$/m.test(all);
      });
      await scene.gateway.end();
    } finally {
      Bun.spawnSync(["umount", "-l", disk]);
    }
  },
);

test("a reload moves the log to another file, and a wrong one changes nothing", async () => {
  const scene = serving();
  const { config, directory, gateway } = scene;
  await say(scene, "shop", "first\n");
  await until("it is written", () => linesOf(scene, scene.file).includes("first"));
  const before = readFileSync(config, "utf8");
  Bun.spawnSync(["mkfifo", join(directory, "logs/fifo")]);
  writeFileSync(config, before.replace("shop.log", "fifo"));
  gateway.signal("SIGHUP");
  await until("it is refused", () => gateway.log.includes("configuration not reloaded"));
  await say(scene, "shop", "second\n");
  await until("it is written", () => linesOf(scene, scene.file).includes("second"));
  const pid = /shop (\d+)\]/.exec(readFileSync(scene.file, "utf8"))?.[1];
  writeFileSync(config, before.replace("shop.log", "other.log"));
  gateway.signal("SIGHUP");
  const other = join(directory, "logs/other.log");
  await until("it is there", () => existsSync(other));
  await until("it is in use", async () => {
    await say(scene, "shop", "third\n");
    return linesOf(scene, other).includes("third");
  });
  expect(readFileSync(other, "utf8")).toContain(`shop ${pid}]`);
  await gateway.end();
});

test("the access log has the fields that the configuration chooses", async () => {
  const scene = serving();
  const { config, gateway } = scene;
  const format = `access_format = '{status} "{method} {path}" {app} {header:X-Who}'`;
  await gateway.address();
  writeFileSync(config, readFileSync(config, "utf8").replace(`access = "off"`, format));
  gateway.signal("SIGHUP");
  const headers = { "X-Who": 'me "and\u00e9 you' };
  await until("the new form is in use", async () => {
    await (await fetch(`${await gateway.address()}/shop/a?secret=1`, { headers })).text();
    return gateway.lines.some((line) => line.startsWith("200 "));
  });
  expect(gateway.lines.find((line) => line.startsWith("200 "))).toMatch(
    /^200 "GET \/shop\/a" shop me\\x20\\"and(\\x[0-9a-f]{2})+\\x20you$/,
  );
  await gateway.end();
});

test("journald gets each line as a message, also after it was away", async () => {
  const received = join(temporaryDirectory(), "received");
  const socket = join(temporaryDirectory(), "journal");
  const listen = async () => {
    const child = Bun.spawn(["python3", "-c", fakeJournal, socket, received], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    journals.push(child);
    await child.stdout.getReader().read();
    return child;
  };
  const journal = await listen();
  const scene = serving(`journald:${socket}`);
  await say(scene, "shop", "to the journal\nPRIORITY=0\n");
  await until("it has come", () => messagesOf(received).length === 2);
  expect(messagesOf(received)).toEqual([
    expect.objectContaining({ MESSAGE: "to the journal", SYSLOG_IDENTIFIER: "shop" }),
    expect.objectContaining({ MESSAGE: "PRIORITY=0", PRIORITY: "6", APPLICATION: "shop" }),
  ]);
  expect(messagesOf(received)[0]?.["APPLICATION_PID"]).toMatch(/^\d+$/);
  journal.kill();
  await journal.exited;
  rmSync(socket);
  await say(scene, "shop", "while it was away\n");
  await listen();
  await until("it has come", () => messagesOf(received).length === 3);
  expect(messagesOf(received)[2]?.["MESSAGE"]).toBe("while it was away");
  expect(scene.gateway.log).not.toContain("to the journal");
  await scene.gateway.end();
});

const journals: Bun.Subprocess[] = [];
afterEach(() => {
  for (const journal of journals.splice(0)) journal.kill();
});

const fakeJournal = `
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
print("listening", flush=True)
while True:
    with open(sys.argv[2], "ab") as file:
        file.write(server.recv(65536) + b"\\0")
`;

function messagesOf(file: string): Readonly<Record<string, string>>[] {
  if (!existsSync(file)) return [];
  const datagrams = readFileSync(file, "utf8").split("\0").slice(0, -1);
  return datagrams.map((datagram) => {
    const fields = datagram.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2));
    return Object.fromEntries(fields) as Record<string, string>;
  });
}
