/** restart.txt and starts by the built-in spawner: one touch, one start, of the new code. */
import { describe, expect } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { faultTests, refusal, request, writeFiles } from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { languages } from "../helpers/languages.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";

countDescriptors();
const faultTest = faultTests();

function touchRestart(root: string): string {
  mkdirSync(join(root, "tmp"), { recursive: true });
  const file = join(root, "tmp/restart.txt");
  writeFileSync(file, "");
  return file;
}

/** How many instances there have been of an application. */
function starts(server: ServerUnderTest, root: string): number {
  return server.log().split(`instance spawned app=${root} `).length - 1;
}

describe.each(languages)("$name:", ({ file, options, programs }) => {
  faultTest("a touch after a failed start and a repair starts it once", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "repaired", { [file]: programs.exits });
    await refusal(client, root, options);
    writeFiles(server, "repaired", { [file]: programs.serves });
    const restart = touchRestart(root);
    const { pid } = await request(client, root, options);
    expect(existsSync(restart)).toBe(false);
    expect((await request(client, root, options)).pid).toBe(pid);
    expect(starts(server, root)).toBe(1);
  });

  faultTest("a touch before the first start is part of it", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "touched", { [file]: programs.serves });
    const restart = touchRestart(root);
    const { pid } = await request(client, root, options);
    expect(existsSync(restart)).toBe(false);
    expect((await request(client, root, options)).pid).toBe(pid);
    expect(starts(server, root)).toBe(1);
  });

  faultTest("a touch while no instance is there has the next made of new code", async (server) => {
    const client = await server.connect();
    const root = writeFiles(server, "idle", { [file]: programs.serves });
    await request(client, root, options);
    await client.send("setMaxIdleTime", "1");
    await until("it has gone", async () => (await client.number("getCount")) === 0);
    writeFiles(server, "idle", { [file]: `${programs.serves}\n${programs.exits}` });
    touchRestart(root);
    expect((await refusal(client, root, options)).message).toContain("Cannot spawn");
  });
});
