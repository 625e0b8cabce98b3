// What holds between any two events of what the pool does though nobody asks:
//
// - Worn instances: each is in the pool; their applications are known, and a replacement that may
//   begin has begun. A rolling restart is over when nothing of it is left to replace, unless its
//   code was refused.
// - Replacements: one for each application, and at most one more of old code; they hold no place.
// - Ages: every instance with a limit on its age, and no other, is known by when it is reached.
// - Ahead: what an application is to have at least is there or coming, if there are places.
// - Idle: whoever may have been idle for too long is looked at in time.

import { unusedSince } from "../../src/pool/ahead.ts";
import type { ApplicationRecord, InstanceRecord } from "../../src/pool/application.ts";
import { hasPlace, maySpawn, wantedAhead } from "../../src/pool/places.ts";
import type { PoolState } from "../../src/pool/state.ts";
import { mayReplace } from "../../src/pool/worn.ts";

/** Throws if it does not hold. */
export function checkUpkeep(state: PoolState, now: number): void {
  const { wearing, replacements } = state;
  for (const application of state.applications.values()) {
    checkIdle(state, application);
    checkWorn(state, application, now);
    checkAges(state, application);
    const { root, coming, options } = application;
    if (options === undefined || !hasPlace(state) || !maySpawn(state, application)) continue;
    expect(coming >= wantedAhead(state, application), `${root} has too few instances`);
  }
  for (const application of wearing) {
    expect(application.worn > 0, `nothing of ${application.root} is worn`);
  }
  for (const { application, isPlaced, id } of replacements.values()) {
    expect(!isPlaced, `replacement ${id} has a place`);
    expect(state.applications.get(application.root) === application, "one is of nothing");
  }
}

function checkWorn(state: PoolState, application: ApplicationRecord, now: number): void {
  const { root, worn, replacement, replacing, rollout, failures, options } = application;
  const { replacements } = state;
  const mine = pooled(application).filter((instance) => instance.worn !== undefined);
  expect(worn === mine.length, `${root} has ${mine.length} worn instances, not ${worn}`);
  expect(state.wearing.has(application) === worn > 0, `${root} is forgotten, or too late`);
  const own = [...replacements.values()].filter((spawn) => spawn.application === application);
  expect(own.length === replacing, `${root} has ${own.length} replacements, not ${replacing}`);
  expect(replacing <= 2, `${root} has ${replacing} replacements`);
  expect(replacement === undefined || own.includes(replacement), `that of ${root} is over`);
  expect(rollout === undefined || rollout === "refused" || worn > 0, `${root} restarts for ever`);
  if (worn === 0 || replacement !== undefined || rollout === "refused") return;
  const mayBegin =
    options !== undefined && !failures.isPaused(now) && mayReplace(state, application);
  expect(!mayBegin, `a replacement of ${root} could begin`);
}

function checkAges(state: PoolState, application: ApplicationRecord): void {
  const { maxAgeMs = 0 } = application.settings;
  for (const { id, age, worn, readyMs } of pooled(application)) {
    if (age?.heap === undefined) {
      expect(maxAgeMs === 0 || worn !== undefined || isRefused(application), `${id} is for ever`);
    } else {
      expect(age.heap === state.ages && age.key === readyMs + maxAgeMs, `the age of ${id}`);
    }
  }
}

/** Then what was worn before is not any more. */
function isRefused({ rollout, failures }: ApplicationRecord): boolean {
  return rollout === "refused" || failures.last !== undefined;
}

function checkIdle(state: PoolState, application: ApplicationRecord): void {
  const { root, idle, count, minInstances, reap } = application;
  const mine = pooled(application).filter(({ sessions }) => sessions === 0);
  expect(idle.size === mine.length, `${root} has ${mine.length} idle instances, not ${idle.size}`);
  const limitMs = state.maxIdleOf(application);
  const { first } = idle;
  if (first === undefined || limitMs === Infinity || count <= minInstances) return;
  const isLookedAt = reap.heap !== undefined && reap.key <= unusedSince(first) + limitMs;
  expect(isLookedAt, `nobody looks whether ${root} is idle for too long`);
}

function pooled({ available, full }: ApplicationRecord): InstanceRecord[] {
  return [...available, ...full];
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(`pool invariant: ${otherwise}`);
}
