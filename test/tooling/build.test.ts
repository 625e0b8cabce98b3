// scripts/build.ts: what it refuses, and the promises about the executable that only show outside.

import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./tree.ts";

function build(...args: string[]): { status: number; errors: string } {
  const command = [process.execPath, join(ROOT, "scripts/build.ts"), ...args];
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd: "/", stdin: "ignore" });
  return { status: exitCode, errors: stderr.toString() };
}

test("a target that the server does not run on is refused by name", () => {
  const { status, errors } = build("--target", "windows-x64");
  expect(errors).toBe("build: --target windows-x64: not one of linux-x64, linux-arm64\n");
  expect(status).toBe(1);
});

test("a flag it does not know is refused", () => {
  const { status, errors } = build("--fast");
  expect(errors).toStartWith("build: Unknown option '--fast'");
  expect(status).toBe(1);
});

test("two builds of one tree are the same, byte for byte, and leave nothing else behind", async () => {
  const directory = mkdtempSync(join(tmpdir(), "pool-build-"));
  try {
    const paths = ["one", "two"].map((name) => join(directory, name));
    for (const path of paths) expect(build("--outfile", path)).toEqual({ status: 0, errors: "" });
    expect(readdirSync(directory).toSorted()).toEqual(["one", "two"]);
    const [one, two] = await Promise.all(
      paths.map(async (path) => Bun.hash(await Bun.file(path).arrayBuffer())),
    );
    expect(one).toBe(two);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test.each(["build", "release", "real-apps", "bench"])("%s --help shows its header", (name) => {
  const command = [process.execPath, join(ROOT, `scripts/${name}.ts`), "--help"];
  const { stdout, exitCode } = Bun.spawnSync(command, { cwd: "/", stdin: "ignore" });
  expect(exitCode).toBe(0);
  expect(stdout.toString()).toMatch(new RegExp(`^[^/*].*\n    bun scripts/${name}\\.ts \\[`, "s"));
});
