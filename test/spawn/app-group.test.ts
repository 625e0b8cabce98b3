/** A control group's limits as they are told: what it may cost the server. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  openSync,
  readSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "bun:test";

import { AppGroup } from "../../src/spawn/builtin/app-group.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { rejection } from "../parent/rejection.ts";

const temporaryDirectory = temporaryDirectories();
const pipeBytes = 65_536;

/** Makes its next writer wait, as the kernel does who has to take memory back first. */
function fill(pipe: number): void {
  try {
    for (;;) writeSync(pipe, Buffer.alloc(4_096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  }
}

test("while the kernel takes memory back for a lower memory_max, the server goes on", async () => {
  const directory = temporaryDirectory();
  const file = join(directory, "memory.max");
  execFileSync("mkfifo", [file]);
  const pipe = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
  // Were the server made to wait, it would be for this.
  const words = ["sh", "-c", `sleep 10; head -c ${pipeBytes} '${file}' >/dev/null`];
  const rescue = Bun.spawn(words, { detached: true });
  try {
    const group = new AppGroup(directory);
    await group.apply({ memoryMax: 3_000_000 });
    fill(pipe);
    const applied: number[] = [];
    const ends = [2_000_000, 1_000_000].map(async (memoryMax) => {
      await group.apply({ memoryMax });
      applied.push(memoryMax);
    });
    await Bun.sleep(1);
    expect(applied).toEqual([]);
    expect(rescue.exitCode).toBeNull();
    readSync(pipe, Buffer.alloc(pipeBytes));
    await Promise.all(ends);
    expect(applied).toEqual([2_000_000, 1_000_000]);
    const told = Buffer.alloc(pipeBytes);
    expect(told.toString("latin1", 0, readSync(pipe, told))).toEndWith("20000001000000");
  } finally {
    process.kill(-rescue.pid);
    await rescue.exited;
    closeSync(pipe);
  }
});

test("where the kernel takes none of the new limits, whoever tells it hears of it, and nobody else", async () => {
  const directory = temporaryDirectory();
  const files = ["memory.max", "cpu.weight"].map((file) => join(directory, file));
  for (const file of files) writeFileSync(file, "");
  const strays: unknown[] = [];
  const note = (error: unknown): void => void strays.push(error);
  process.on("unhandledRejection", note);
  try {
    const group = new AppGroup(directory);
    await group.apply({ memoryMax: 3_000_000, cpuWeight: 50 });
    for (const file of files) unlinkSync(file);
    expect(() => group.apply({ memoryMax: 2_000_000, cpuWeight: 60 })).toThrow("cpu.weight");
    // The thread that tells memory.max aside has been there by the time of these, or of most.
    for (let n = 0; n < 20; n += 1) await rejection(access(files[0] ?? ""));
    expect(strays).toEqual([]);
  } finally {
    process.off("unhandledRejection", note);
  }
});
