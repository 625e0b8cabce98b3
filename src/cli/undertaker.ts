/** The hidden command `undertaker PLAN`, which the server starts at its end (hand-over.ts). */
import { readFileSync, rmSync } from "node:fs";

import { LineWriter } from "../logging/line-writer.ts";
import { outputWriter } from "../logging/log.ts";
import type { LogPlace, Plan } from "../spawn/builtin/hand-over.ts";
import { undertake } from "../spawn/builtin/undertaker.ts";
import { onSignal } from "./signals.ts";

/** How long it waits at its own end for a log that takes nothing. */
const lastLinesMs = 1_000;

/** SIGTERM skips its waits, as a second one does for the server. */
export async function runUndertaker(planFile: string): Promise<void> {
  const plan = JSON.parse(readFileSync(planFile, "utf8")) as Plan;
  const hurry = new AbortController();
  onSignal((signal) => {
    if (signal === "SIGTERM") hurry.abort();
  });
  const writer = openLog(plan.log);
  try {
    await undertake(plan, outputWriter(writer, plan.log.format), hurry.signal);
  } finally {
    rmSync(plan.directory, { recursive: true, force: true });
    await writer.close(lastLinesMs);
  }
}

/** A LOG_FILE that cannot be opened any more must not lose what they have to say. */
function openLog({ file }: LogPlace): LineWriter {
  try {
    return new LineWriter(file);
  } catch {
    return new LineWriter(undefined);
  }
}
