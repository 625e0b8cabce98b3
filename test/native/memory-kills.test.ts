/** How many processes the kernel has ended for lack of memory, in both versions of groups. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { memoryKills } from "../../src/native/memory-kills.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();

function groups(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return directory;
}

test("is read where our group of version 2 is shown", () => {
  const events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
  const shown = groups({ "system.slice/web.service/memory.events": events });
  expect(memoryKills(shown, "0::/system.slice/web.service\n")).toBe(2);
});

test("is read where our group of version 1 is shown, among others", () => {
  const control = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
  const shown = groups({ "memory/box/memory.oom_control": control });
  expect(memoryKills(shown, "9:pids:/\n4:cpu,memory:/box\n0::/\n")).toBe(7);
});

test("is not known where nothing is shown, and never an error on this machine", () => {
  expect(memoryKills(groups({}), "0::/x\n")).toBeUndefined();
  expect(memoryKills(groups({}), "")).toBeUndefined();
  expect(["number", "undefined"]).toContain(typeof memoryKills());
});
