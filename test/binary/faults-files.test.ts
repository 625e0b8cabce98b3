/**
 * File systems that do not answer, and files that take long: what lies there waits, nobody else
 * does. The file system is a real one, of FUSE; only root can mount it.
 */
import { expect } from "bun:test";
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { faultTests, refusal, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { mountHangingFiles } from "../helpers/hanging-files.ts";
import { languages } from "../helpers/languages.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";
import { childrenOf } from "../helpers/processes.ts";

countDescriptors();
const faultTest = faultTests();

const [bun] = languages;
if (bun === undefined) throw new Error("a language is missing");
const { file, options, programs } = bun;
const serves = { [file]: programs.serves };

/** A directory of the server's, for a file system to be mounted in. */
function placeFor(server: ServerUnderTest): string {
  const place = join(server.files.directory, "files");
  mkdirSync(place);
  return place;
}

/** An application beside it serves, again and again, well before anybody's limit. */
async function checkNobodyWaits(server: ServerUnderTest): Promise<void> {
  const client = await server.connect();
  const root = server.app("beside");
  if (!existsSync(root)) writeFiles(server, "beside", serves);
  for (let i = 0; i < 50; i += 1) {
    await within("a session beside it", request(client, root, options), 900);
  }
  client.close();
}

faultTest("a mount that hangs stops the gets of its application, and no others", async (server) => {
  const client = await server.connect();
  await checkNobodyWaits(server);
  await using files = await mountHangingFiles(placeFor(server));
  writeFileSync(join(files.source, file), programs.serves);
  mkdirSync(join(files.source, "tmp"));
  const { pid } = await request(client, files.mounted, options);
  files.hang();
  const stuck = await server.connect();
  const waiting = request(stuck, files.mounted, options);
  await checkNobodyWaits(server);
  // Its instance lives: that restart.txt could not be looked for costs it a moment.
  expect((await waiting).pid).toBe(pid);
  expect(server.log()).toContain("restart.txt not looked for");
  files.goOn();
});

faultTest(
  "a first get on a mount that may hang needs one helper for both looks",
  async (server) => {
    await using files = await mountHangingFiles(placeFor(server));
    writeFileSync(join(files.source, file), programs.serves);
    const client = await server.connect();
    await request(client, files.mounted, options);
    const helpers = childrenOf(server.pid).filter(({ command }) => command.endsWith(" files"));
    expect(helpers).toHaveLength(1);
    client.close();
  },
);

faultTest(
  "an application on a mount that hangs is refused after a while, and nobody waits with it",
  async (server) => {
    await checkNobodyWaits(server);
    await using files = await mountHangingFiles(placeFor(server));
    writeFileSync(join(files.source, file), programs.serves);
    files.hang();
    const client = await server.connect();
    const refused = refusal(client, files.mounted, options);
    await checkNobodyWaits(server);
    expect((await refused).message).toContain("its files did not answer within 5 s");
    await checkNobodyWaits(server);
    files.goOn();
  },
);

faultTest("a link to a mount that hangs is as bad as the mount itself", async (server) => {
  await checkNobodyWaits(server);
  await using files = await mountHangingFiles(placeFor(server));
  const root = writeFiles(server, "links", {});
  mkdirSync(root);
  symlinkSync(join(files.mounted, file), join(root, file));
  files.hang();
  const client = await server.connect();
  const refused = refusal(client, root, options);
  await checkNobodyWaits(server);
  expect((await refused).message).toContain("its files did not answer");
  files.goOn();
});

faultTest("restart.txt on a mount is heeded by the very next get, each time", async (server) => {
  await using files = await mountHangingFiles(placeFor(server));
  writeFileSync(join(files.source, file), programs.serves);
  mkdirSync(join(files.source, "tmp"));
  const client = await server.connect();
  let { pid } = await request(client, files.mounted, options);
  for (let i = 0; i < 5; i += 1) {
    expect((await request(client, files.mounted, options)).pid).toBe(pid);
    writeFileSync(join(files.source, "tmp/restart.txt"), "");
    const next = await request(client, files.mounted, options);
    expect(next.pid).not.toBe(pid);
    expect(existsSync(join(files.source, "tmp/restart.txt"))).toBe(false);
    pid = next.pid;
  }
});

/** Written in pieces with holes between them: as many extents as pieces. */
const fragment = `
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for at in range(0, 20000 * 8192, 8192):
    os.pwrite(fd, b"x" * 4096, at)
os.fsync(fd)
`;

faultTest(
  "a restart.txt of 80 MB in 20,000 pieces restarts, and freezes nobody",
  async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "large", { ...serves, "tmp/.keep": "" });
    const { pid } = await request(client, root, options);
    const path = join(root, "tmp/restart.txt");
    const made = Bun.spawnSync(["python3", "-c", fragment, path]);
    if (!made.success) throw new Error(made.stderr.toString());
    expect(statSync(path).blocks * 512).toBeGreaterThan(70_000_000);
    const restarted = request(client, root, options);
    await checkNobodyWaits(server);
    expect((await restarted).pid).not.toBe(pid);
    expect(existsSync(path)).toBe(false);
    // Only now the disk gets back what it had, which nobody sees but the helper.
    const helpers = () =>
      childrenOf(server.pid).filter(({ command }) => command.endsWith(" files"));
    await until("its helper has gone", () => helpers().length === 0, helpers, 60_000);
  },
);
