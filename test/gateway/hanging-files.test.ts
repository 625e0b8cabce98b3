/** A mount that hangs below one application's root: the others of its gateway are served. */
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

import { childrenOf } from "../../src/native/process-stat.ts";
import { binaryPath } from "../helpers/binary-server.ts";
import { until, within } from "../helpers/condition.ts";
import { gateways, writeApplication } from "../helpers/gateway.ts";
import { mountHangingFiles } from "../helpers/hanging-files.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

test("files on a mount are sent, one that hangs stops its application alone", async () => {
  const directory = temporaryDirectory();
  const place = join(directory, "files");
  mkdirSync(place);
  await using files = await mountHangingFiles(place);
  const beside = writeApplication(directory);
  mkdirSync(join(files.source, "public"));
  writeFileSync(join(files.source, "public/page.txt"), "a page");
  writeFileSync(
    join(files.source, "server.ts"),
    'export default { fetch: () => new Response("app") };',
  );
  const config = join(directory, "pool.toml");
  mkdirSync(join(directory, "typo"));
  writeFileSync(
    config,
    `listen = ["127.0.0.1:0"]\nworkers = 1\n[log]\nlevel = 1\n[[apps]]\nroot = "${beside}"\n` +
      `[[apps]]\nname = "mounted"\nroot = "${files.mounted}"\nprefix = "/mounted"\n` +
      `[[apps]]\nroot = "${join(directory, "typo")}"\nprefix = "/typo"\n`,
  );
  const gateway = startGateway(["--config", config]);
  const address = await gateway.address();
  const ask = async (path: string) =>
    (await fetch(`${address}${path}`, { keepalive: false })).text();
  expect(await ask("/mounted/page.txt")).toBe("a page");
  expect(await ask("/mounted/other")).toBe("app");
  expect(await ask("/")).toStartWith("app / ");
  await until("it warns", () => gateway.log.includes("application cannot be started app=typo"));
  expect(gateway.log).not.toContain("application cannot be started app=mounted");
  const wrong = startGateway(["--check", join(directory, "not", "there")]);
  expect(await within("its answer", wrong.ended)).toBe(2);
  files.hang();
  const stuck = Array.from({ length: 5 }, () => ask("/mounted/page.txt").catch(String));
  for (let i = 0; i < 40; i += 1) {
    expect(await within("an answer beside it", ask(`/${i}`), 900)).toStartWith(`app /${i} `);
    await Bun.sleep(25);
  }
  // Nor does a new configuration wait for it.
  gateway.signal("SIGHUP");
  await until("it is read", () => gateway.log.includes("configuration reloaded"));
  // Its instance lives, and is asked in place of the files.
  for (const answer of await Promise.all(stuck)) expect(answer).toBe("app");
  files.goOn();
  await until(
    "its files are sent again",
    async () => (await ask("/mounted/page.txt")) === "a page",
  );
  await gateway.end();
}, 60_000);

function appAt(root: string): string {
  return `[[apps]]\nroot = "${root}"\nprefix = "/${basename(root)}"\n`;
}

test("who looks at files that hang is reaped by the next program", async () => {
  const directory = temporaryDirectory();
  await using files = await mountHangingFiles(directory);
  const program = join(directory, "poolserver");
  copyFileSync(binaryPath, program);
  const config = join(directory, "pool.toml");
  const good = `listen = ["127.0.0.1:0"]\n${appAt(writeApplication(directory))}`;
  // The last is asked about seven seconds later.
  const hanging = Array.from({ length: 8 }, (_, n) => join(files.mounted, `app-${n}`));
  writeFileSync(config, good + hanging.map(appAt).join(""));
  files.hang();
  const gateway = startGateway(["--config", config], { program });
  await gateway.address();
  await until("one looks", () => childrenOf(gateway.pid).length === 3);
  writeFileSync(config, good);
  copyFileSync(binaryPath, `${program}.new`);
  renameSync(`${program}.new`, program);
  gateway.signal("SIGHUP");
  await until("it has gone on", () => gateway.addresses.length === 2);
  files.goOn(); // Whoever waits for a file system of FUSE cannot even be killed.
  await until(
    "only its own are left",
    () => childrenOf(gateway.pid).length === 2,
    () => [gateway.log, gateway.processes],
  );
  await gateway.end();
}, 60_000);

test("files that a tenant's own file system holds up are not sent by workers", async () => {
  const directory = temporaryDirectory();
  const root = writeApplication(directory);
  const place = join(root, "public/mounted");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(root, "public/page.txt"), "a page");
  await using files = await mountHangingFiles(place, { mounter: 1, owner: 0 });
  writeFileSync(join(files.source, "file.txt"), "a file");
  const gateway = startGateway([root]);
  const address = await gateway.address();
  const ask = async (path: string) =>
    within("an answer", fetch(`${address}${path}`, { keepalive: false }), 5_000).then((answer) =>
      answer.text(),
    );
  const below = "/mounted/mounted/file.txt";
  expect(await ask(below)).toStartWith("app /mounted");
  files.hang();
  for (let i = 0; i < 5; i += 1) {
    expect(await ask(below)).toStartWith("app /mounted");
    expect(await ask("/page.txt")).toBe("a page");
  }
  files.goOn();
  await gateway.end();
}, 60_000);
