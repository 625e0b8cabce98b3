/**
 * What the pool itself costs: one get and one close of a warm application, for a small pool and a
 * large one, and what waiting costs. Prints a table; the ratio says whether the cost depends on the
 * size. Run: bun scripts/bench/pool-scale.ts
 */

import { Pool } from "../../src/pool/pool.ts";
import type { Effect, SessionId } from "../../src/pool/types.ts";
import type { AppRequest } from "../../src/wire/app-request.ts";
import { ascii, type ByteString, fromText } from "../../src/wire/bytes.ts";
import { median } from "./rows.ts";

const OPTIONS: AppRequest = {
  root: ascii("/srv"),
  lowerPrivilege: true,
  lowestUser: ascii("nobody"),
  environment: ascii("production"),
  spawnMethod: "smart",
  appType: "rack",
};
const ROUNDS = 9;
const CYCLES_PER_ROUND = 200_000;

interface Shape {
  readonly applications: number;
  readonly instancesEach: number;
  /** Sessions held open all the time on every instance but one of each application. */
  readonly busy: boolean;
  readonly useGlobalQueue?: boolean;
  /** Only so many applications are asked for: the cost of the size without that of cold memory. */
  readonly visited?: number;
}

/** A pool with the instances of `shape`, and the roots of its applications. */
function build(shape: Shape): { pool: Pool; roots: ByteString[] } {
  const max = shape.applications * shape.instancesEach;
  const pool = new Pool(
    { maxWaitMs: 0, maxQueue: 0, spawnsAtOnce: 64, slowSpawnMs: Infinity },
    { max, useGlobalQueue: shape.useGlobalQueue ?? false },
  );
  const roots = Array.from({ length: shape.applications }, (_, n) => fromText(`/srv/www/app-${n}`));
  const held: SessionId[][] = roots.map(() => []);
  for (const [at, root] of roots.entries()) {
    for (let n = 0; n < shape.instancesEach; n++) {
      const sessions = run(pool, pool.get(requestOf(root), 0).effects);
      held[at]?.push(...sessions);
    }
  }
  for (const sessions of held) {
    for (const session of shape.busy ? sessions.slice(0, 1) : sessions) {
      pool.sessionClosed(session, 0);
    }
  }
  if (pool.count !== max) throw new Error(`built ${pool.count} instances instead of ${max}`);
  return { pool, roots };
}

/** Performs effects: every spawn succeeds at once. Answers the sessions granted. */
function run(pool: Pool, effects: readonly Effect[]): SessionId[] {
  return effects.flatMap((effect) => {
    if (effect.kind === "grant") return [effect.session];
    if (effect.kind !== "spawn") return [];
    return run(
      pool,
      pool.spawned(effect.spawn, { pid: 1, concurrency: 1, reportsDone: false }, 0).effects,
    );
  });
}

function requestOf(root: ByteString) {
  return { root, options: OPTIONS, restart: false, kept: false, expectedConcurrency: 1 };
}

/** A root as a server sees it: a new string, cut from a message, with no hash yet. */
function asReceived(message: string, index: number): ByteString {
  return message.slice(index, -1) as ByteString;
}

/** Nanoseconds for one get and one close, the median of some rounds. */
function measureCycle(shape: Shape): number {
  const { pool, roots } = build(shape);
  const visited = roots.slice(0, shape.visited);
  const messages = visited.map((root) => `get\0${root}\0`);
  const times: number[] = [];
  let now = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = Bun.nanoseconds();
    for (let n = 0; n < CYCLES_PER_ROUND; n++) {
      // A stride that is prime visits all applications in no obvious order.
      const root = asReceived(messages[(n * 7919) % messages.length] ?? "", 4);
      const { effects } = pool.get(requestOf(root), now++);
      const grant = effects[0];
      if (grant?.kind !== "grant") throw new Error("a warm application has no free instance");
      pool.sessionClosed(grant.session, now++);
    }
    times.push((Bun.nanoseconds() - start) / CYCLES_PER_ROUND);
  }
  return median(times);
}

/**
 * Nanoseconds for one get that waits and the close that serves it, with `waiting` gets in the line.
 */
function measureWaiting(waiting: number): number {
  const { pool, roots } = build({
    applications: 1,
    instancesEach: 1,
    busy: false,
    useGlobalQueue: true,
  });
  const root = roots[0] ?? fromText("/");
  let session = run(pool, pool.get(requestOf(root), 0).effects)[0];
  for (let n = 0; n < waiting; n++) pool.get(requestOf(root), 0);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = Bun.nanoseconds();
    for (let n = 0; n < CYCLES_PER_ROUND / 4; n++) {
      pool.get(requestOf(root), 0);
      if (session === undefined) throw new Error("a closed session served nobody");
      session = run(pool, pool.sessionClosed(session, 0))[0];
    }
    times.push((Bun.nanoseconds() - start) / (CYCLES_PER_ROUND / 4));
  }
  return median(times);
}

function report(what: string, nanoseconds: number, base: number): void {
  const ratio = (nanoseconds / base).toFixed(2);
  console.log(`${what.padEnd(56)} ${nanoseconds.toFixed(0).padStart(6)} ns ${ratio.padStart(6)}x`);
}

const small = measureCycle({ applications: 1, instancesEach: 5, busy: false });
report("get and close: 5 instances of 1 application", small, small);
const shapes: [string, Shape][] = [
  ["5,000 of 1 application", { applications: 1, instancesEach: 5000, busy: false }],
  [
    "5,000 of 1 application, all but one busy",
    { applications: 1, instancesEach: 5000, busy: true },
  ],
  [
    "5,000 of 1,000 applications, 5 asked for",
    { applications: 1000, instancesEach: 5, busy: false, visited: 5 },
  ],
  [
    "5,000 of 1,000 applications, all asked for",
    { applications: 1000, instancesEach: 5, busy: false },
  ],
  [
    "5,000 of 1,000 applications, all asked for, most busy",
    { applications: 1000, instancesEach: 5, busy: true },
  ],
];
for (const [what, shape] of shapes) report(`get and close: ${what}`, measureCycle(shape), small);
for (const waiting of [0, 10, 10_000]) {
  report(`a get that waits behind ${waiting} and is served`, measureWaiting(waiting), small);
}
