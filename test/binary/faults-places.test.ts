/**
 * Roots, links and files that are moved, switched or taken away while the server runs. What runs
 * goes on, what is started anew is what lies there now.
 */
import { describe, expect } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import {
  builtin,
  configure,
  faultTests,
  refusal,
  request,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { bothWays, languages } from "../helpers/languages.ts";

countDescriptors();
const faultTest = faultTests();

describe.each(bothWays)("$name:", ({ file, options, programs }) => {
  faultTest("a link that is switched serves the new release after restart.txt", async (server) => {
    const client = await server.connect();
    const old = writeFiles(server, "releases/1", { [file]: programs.serves });
    const next = writeFiles(server, "releases/2", { [file]: programs.exits });
    const current = server.app("current");
    symlinkSync(old, current);
    const { pid } = await request(client, current, options);
    rmSync(current);
    symlinkSync(next, current);
    expect((await request(client, current, options)).pid).toBe(pid);
    for (const root of [old, next]) mkdirSync(join(root, "tmp"));
    writeFileSync(join(current, "tmp/restart.txt"), "");
    const { message, page } = await refusal(client, current, options);
    expect(`${message}${page}`).toContain("this is why");
    expect(readdirSync(join(next, "tmp"))).toEqual([]);
  });

  faultTest(
    "a link that is switched serves the new release with each new instance",
    async (server) => {
      const client = await server.connect();
      const old = writeFiles(server, "releases/1", { [file]: programs.serves });
      const next = writeFiles(server, "releases/2", { [file]: programs.exits });
      const current = server.app("current");
      symlinkSync(old, current);
      await configure(client, current, { concurrency: 1 });
      const first = await client.get(current, options);
      rmSync(current);
      symlinkSync(next, current);
      // No restart.txt: the old instance serves on, a second one is of the new release.
      const { message, page } = await refusal(client, current, options);
      expect(`${message}${page}`).toContain("this is why");
      await client.closeSession(first);
    },
  );

  faultTest("a root that is removed serves on, and is missed at the next start", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "removed", { [file]: programs.serves });
    const { pid } = await request(client, root, options);
    renameSync(root, `${root}-away`);
    expect((await request(client, root, options)).pid).toBe(pid);
    await client.send("clear");
    await client.untilCount(0);
    const { message, page } = await refusal(client, root, options);
    expect(message).toContain("Cannot spawn application");
    expect(page).toContain(root);
    renameSync(`${root}-away`, root);
    expect((await request(client, root, options)).head).toStartWith("Status: 200");
  });

  faultTest("a root longer than any socket's name is served", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, `${"long".repeat(40)}/app`, { [file]: programs.serves });
    expect((await request(client, root, options)).head).toStartWith("Status: 200");
  });

  faultTest(
    "an instance's socket has no name to be deleted, replaced or linked",
    async (server) => {
      const client = await server.connect();
      const root = writeFiles(server, "nameless", { [file]: programs.serves });
      const { pid } = await request(client, root, options);
      const own = readdirSync(server.files.directory).filter((name) =>
        name.startsWith("application-"),
      );
      expect(own).toHaveLength(1);
      const place = join(server.files.directory, own[0] ?? "");
      const paths = readdirSync(place, { recursive: true }).map((name) =>
        join(place, String(name)),
      );
      expect(paths.filter((path) => lstatSync(path).isSocket())).toEqual([]);
      // Whatever is done to the server's own files, what runs is reached, and the next one starts.
      rmSync(place, { recursive: true });
      expect((await request(client, root, options)).pid).toBe(pid);
      process.kill(pid, "SIGKILL");
      await client.untilCount(0);
      expect((await request(client, root, options)).head).toStartWith("Status: 200");
    },
  );
});

/** Runs a copy of the binary in the server's directory. */
const fromCopy = ["sh", "-c", 'cp "$0" ./server && exec ./server "$@"'];

for (const becomes of ["deleted", "replaced"] as const) {
  faultTest(
    `a binary that is ${becomes} while it runs starts instances all the same`,
    { ...builtin, binary: { builtin: true, wrapper: fromCopy } },
    async (server) => {
      const binary = join(server.files.directory, "server");
      rmSync(binary);
      if (becomes === "replaced") {
        writeFileSync(binary, "#!/bin/sh\necho another version >&2\nexit 1\n", { mode: 0o755 });
      }
      const client = await server.connect();
      for (const { file, options, programs } of languages) {
        const name = `${options.appType}-${options.spawnMethod}`;
        const root = writeFiles(server, name, { [file]: programs.serves });
        expect((await request(client, root, options)).head).toStartWith("Status: 200");
      }
    },
  );
}
