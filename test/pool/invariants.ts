/**
 * What holds between any two events, whatever they were. In prose:
 *
 * - Sums: the pool's counts are the sums of its applications', and those what their lists hold.
 * - Places: instances and spawns keep max. If max was lowered below them, nothing is idle and
 *   nothing planned.
 * - Lists: an instance is in one list of its application, which fits its standing and sessions; in
 *   the list of idle ones exactly if it is pooled and has no session, longest idle first; out of
 *   the pool a client has a session of it, or an abandoned one has its time.
 * - Times: who is to be looked at because a request takes long is known, open, and not given up.
 * - Ends: an instance is among those about to report if a session of it was closed a moment ago
 *   that it is not done with; what places it promises is known to its application.
 * - Gets: none waits while it could be served (a free instance, a place, an idle instance to let
 *   go, a busy one to bind to), none in vain during a pause; nothing is planned that nobody needs
 *   or that could begin: its application has as many slots as are free.
 * - Kept sessions: an instance and an application know which of theirs were not asked for, longest
 *   open first, and how many answers are due; out of the pool all were asked for. As many answers
 *   as gets wait are due to their application, or nothing is left to ask for. As many instances are
 *   being emptied as have to be idle, or none could be. A get is held back for a recall only while
 *   it is new.
 * - Restarts: none is put off that fits.
 * - Memory: an application with nothing left is forgotten, and so is everything that has ended.
 *
 * Costs like a snapshot.
 */

import {
  type ApplicationRecord,
  type InstanceRecord,
  NO_SETTINGS,
  type Spawn,
} from "../../src/pool/application.ts";
import { CLOSING_LIMIT_MS, promisedBy } from "../../src/pool/closing.ts";
import { Keeping, type Kept, RECALL_LIMIT_MS } from "../../src/pool/kept.ts";
import { wantedAhead } from "../../src/pool/places.ts";
import { restartFits } from "../../src/pool/settle.ts";
import type { Pool } from "../../src/pool/pool.ts";
import type { PoolState } from "../../src/pool/state.ts";
import { LOOK_MS, mayEvict } from "../../src/pool/usefulness.ts";
import { checkUpkeep } from "./upkeep-invariants.ts";

/** Throws if the pool contradicts itself. */
export function checkInvariants({ state }: Pool): void {
  const { now } = state;
  let count = 0;
  let busy = 0;
  let active = 0;
  let leaving = 0;
  let finishing = 0;
  let instances = 0;
  let waiting = 0;
  for (const application of state.applications.values()) {
    checkLists(state, application);
    checkLine(state, application, now);
    checkMemory(state, application, now);
    count += application.count;
    busy += application.busy;
    for (const order of [application.available, application.full]) {
      for (const { open } of order) if (open > 0) active++;
    }
    instances += application.count + application.outside.size;
    finishing += application.finishing;
    for (const { standing } of application.outside) if (standing === "leaving") leaving++;
    waiting += application.line.size;
  }
  same("count", state.count, count);
  same("busy", state.busy, busy);
  same("active", state.active, active);
  same("leaving", state.leaving, leaving);
  same("finishing", state.finishing, finishing);
  same("instances known", state.instances.size, instances);
  same("gets waiting", state.waiters.size, waiting);
  checkPlaces(state);
  checkKept(state, now);
  checkIdle(state);
  checkSessions(state);
  checkClosing(state, now);
  checkTimes(state);
  checkUpkeep(state, now);
  for (const application of state.pendingRestarts) {
    require(!restartFits(state, application), "a restart that fits is put off");
    require(state.applications.get(application.root) === application, "a restart is of nothing");
  }
  same("applications left to look at", state.maybeEmpty.length, 0);
}

function checkPlaces(state: PoolState): void {
  const { limits, planned, begun, idle } = state;
  const spawns = sum(state, ({ spawning }) => spawning);
  same(
    "unplaced",
    state.unplaced,
    sum(state, ({ unplaced }) => unplaced),
  );
  same("spawns", planned.size + begun.size, spawns);
  same(
    "planned",
    planned.size,
    sum(state, (application) => application.planned.size),
  );
  same(
    "outdated",
    state.outdatedSpawns,
    sum(state, ({ outdated }) => outdated.size),
  );
  checkSlots(state);
  if (state.places <= limits.max) return;
  same("idle above max", idle.size, 0);
  same("planned above max", planned.size, 0);
}

function checkSlots(state: PoolState): void {
  const { slots, turns, options } = state;
  require(slots.size <= options.spawnsAtOnce, "too many spawns are under way");
  for (const spawn of slots) require(isUnderWay(state, spawn), "a spawn that is over holds a slot");
  const free = options.spawnsAtOnce - slots.size;
  for (const application of state.applications.values()) {
    const { root, planned, turn } = application;
    const mine = [...slots].filter((spawn) => spawn.application === application).length;
    same(`slots of ${root}`, application.slots, mine);
    same(`${root} waits for a slot`, turn.heap === turns, planned.size > 0);
    const unplaced = [...application.begun, ...application.outdated].filter((s) => !s.isPlaced);
    same(`unplaced spawns of ${root}`, application.unplaced, unplaced.length);
    require(planned.size === 0 || mine >= free, `a planned spawn of ${root} could begin`);
  }
}

function isUnderWay({ begun, replacements }: PoolState, spawn: Spawn): boolean {
  const { id } = spawn;
  return id !== undefined && (begun.get(id) ?? replacements.get(id)) === spawn;
}

function checkLists(state: PoolState, application: ApplicationRecord): void {
  const { available, full, outside } = application;
  let busy = 0;
  for (const order of [available, full]) {
    let previous: InstanceRecord | undefined;
    for (const instance of order) {
      same(`standing of ${instance.id}`, instance.standing, "pooled");
      const isAvailable = instance.load < instance.concurrency;
      require(isAvailable === (order === available), `instance ${instance.id} is in a wrong list`);
      const isFirst = previous === undefined || comesBefore(previous, instance);
      require(isFirst, `instance ${instance.id} is at a wrong place`);
      if (instance.sessions > 0) busy++;
      previous = instance;
    }
  }
  same(`busy of ${application.root}`, application.busy, busy);
  let finishing = 0;
  for (const { id, standing, open, overdue, closing } of outside) {
    require(standing === "leaving" ||
      standing === "dead", `instance ${id} is outside as ${standing}`);
    const hasTime = closing > 0 && overdue?.turn.heap === state.overdue;
    require(open > 0 || hasTime, `instance ${id} is outside and has no session`);
    if (standing === "leaving" && open === 0) finishing++;
  }
  same(`finishing of ${application.root}`, application.finishing, finishing);
  same("applications of a root", state.applications.get(application.root), application);
}

/** Fewest sessions first, then the one used last. */
function comesBefore(a: InstanceRecord, b: InstanceRecord): boolean {
  return a.load < b.load || (a.load === b.load && a.lastUsedMs >= b.lastUsedMs);
}

function checkIdle(state: PoolState): void {
  same("idle", state.idle.size, state.count - state.busy);
  let sinceMs = Number.NEGATIVE_INFINITY;
  for (const { id, standing, sessions, lastUsedMs } of state.idle) {
    require(standing === "pooled" && sessions === 0, `instance ${id} is not idle`);
    require(lastUsedMs >= sinceMs, `idle instance ${id} is at a wrong place`);
    sinceMs = lastUsedMs;
  }
}

function checkSessions(state: PoolState): void {
  const open = new Map<number, number>();
  const long = new Map<number, number>();
  for (const { instance, isLong } of state.sessions.values()) {
    open.set(instance.id, (open.get(instance.id) ?? 0) + 1);
    if (isLong) long.set(instance.id, (long.get(instance.id) ?? 0) + 1);
  }
  for (const instance of state.instances.values()) {
    const { id, undone, reportsDone } = instance;
    same(`sessions of instance ${id}`, instance.open, open.get(id) ?? 0);
    same(`long sessions of instance ${id}`, instance.long, long.get(id) ?? 0);
    require(reportsDone ? undone >= 0 : undone === 0, `instance ${id} has reported too much`);
    open.delete(id);
  }
  same("instances with sessions and unknown", open.size, 0);
}

function checkClosing(state: PoolState, now: number): void {
  let closedMs = Number.NEGATIVE_INFINITY;
  for (const instance of state.closingSoon) {
    const { id, standing, closing } = instance;
    require(standing === "pooled" && closing > 0, `instance ${id} has nothing to report`);
    require(instance.closedMs >= closedMs, `closing instance ${id} is at a wrong place`);
    closedMs = instance.closedMs;
    // Nobody looks while nobody waits.
    const isLate = closedMs + CLOSING_LIMIT_MS <= now;
    require(!isLate || state.waiters.size === 0, `instance ${id} is waited for too long`);
  }
  for (const { root, available, full, promised } of state.applications.values()) {
    const places = [...available, ...full].reduce((all, instance) => all + promisedBy(instance), 0);
    same(`promised places of ${root}`, promised, places);
  }
}

function checkTimes(state: PoolState): void {
  for (const { id, overdue, isGivenUp } of state.instances.values()) {
    const { sessions, turn } = overdue ?? { sessions: [], turn: undefined };
    const isDue = turn?.heap === state.overdue;
    require(!isDue || (sessions.length > 0 && !isGivenUp), `instance ${id} is looked at in vain`);
  }
  let limited = 0;
  for (const { limit } of state.sessions.values()) if (limit?.heap !== undefined) limited++;
  same("sessions with a time limit", state.timeLimits.size, limited);
}

function checkLine(state: PoolState, application: ApplicationRecord, now: number): void {
  const { line, root, available, full, spawning, failures, coming, hunger } = application;
  const { limits, deadlines } = state;
  let id = -1;
  let covered = 0;
  let position = 0;
  for (const waiter of line) {
    require(waiter.id > id, `get ${waiter.id} is at a wrong place in line`);
    require(state.waiters.get(waiter.id) === waiter, `get ${waiter.id} waits unknown`);
    same(
      `deadline of ${waiter.id}`,
      waiter.deadline?.heap === deadlines,
      state.options.maxWaitMs > 0,
    );
    require(!waiter.covered || covered === position, `get ${waiter.id} is covered out of turn`);
    if (waiter.covered) covered++;
    id = waiter.id;
    position++;
  }
  same(`covered gets of ${root}`, covered, expectedCover(state, application, now));
  const { instances, count, places } = application;
  const shared = instances < 2 ? 0 : instances - count - (places - count - coming);
  const ahead = Math.max(shared, wantedAhead(state, application));
  const need = Math.max(ahead, Math.ceil(line.size / application.getsPerSpawn));
  require(application.planned.size === 0 || coming <= need, `${root} plans for nobody`);
  if (line.first === undefined) {
    same(`${root} in a queue for places`, hunger.heap, undefined);
    return;
  }
  same(`free instances of ${root} with gets waiting`, available.size, 0);
  require(!(failures.isPaused(now) && application.count === 0), `${root} waits in a pause`);
  const uncovered = line.firstUncovered;
  const mayBind = !limits.useGlobalQueue && full.size > 0 && spawning === 0;
  require(!mayBind || uncovered === undefined, `a get of ${root} could bind to a busy instance`);
  const isFree = application.isOpen && !failures.isPaused(now);
  const maySpawn = application.places < state.limitOf(application) && isFree;
  if (uncovered === undefined || !maySpawn) {
    same(`${root} in a queue for places`, hunger.heap, undefined);
    return;
  }
  const isBare = application.count === 0 && coming === 0;
  require(hunger.heap === (isBare ? state.bare : state.seeded), `${root} is in the wrong queue`);
  same(`key of ${root}`, hunger.key, uncovered.id);
  require(state.places >= limits.max, `a get of ${root} could have a place`);
  const slow = [...state.slow].some((spawn) => spawn.application !== application);
  const mayTake = state.places <= limits.max && state.unplaced < limits.max;
  require(!slow || !mayTake, `a get of ${root} could have a slow spawn's place`);
  require(!(isBare && mayEvict(state)), `a get of ${root} could have an idle instance's place`);
}

/** How many gets at the front of a line spawns and recalls must be for. */
function expectedCover(state: PoolState, application: ApplicationRecord, now: number): number {
  const { line, outdated, coming, getsPerSpawn, awaited, hold, root } = application;
  let bySpawns = 0;
  for (const { servesBefore } of outdated) {
    bySpawns = line.countBefore(servesBefore, bySpawns + getsPerSpawn);
  }
  bySpawns = Math.min(line.size, bySpawns + coming * getsPerSpawn);
  const first = [...line][bySpawns];
  const isHeld = first !== undefined && awaited > 0 && now < first.arrivedMs + RECALL_LIMIT_MS;
  same(`${root} is held back`, hold.heap === state.holds, isHeld);
  if (first === undefined || !isHeld) return bySpawns;
  same(`end of the hold of ${root}`, hold.key, first.arrivedMs + RECALL_LIMIT_MS);
  return Math.min(line.size, bySpawns + awaited);
}

function checkKept(state: PoolState, now: number): void {
  const open = new Map<InstanceRecord, { kept: number; unasked: number; due: number }>();
  const unasked = new Map<ApplicationRecord, Kept[]>();
  // In the order of opening.
  for (const { kept, instance } of state.sessions.values().toSorted((a, b) => a.id - b.id)) {
    const of = open.get(instance) ?? { kept: 0, unasked: 0, due: 0 };
    open.set(instance, of);
    if (kept === undefined) continue;
    of.kept++;
    if (kept.recall === "due") of.due++;
    if (kept.recall !== "none") continue;
    of.unasked++;
    const { application } = instance;
    unasked.set(application, [...(unasked.get(application) ?? []), kept]);
  }
  for (const instance of state.instances.values()) {
    const { id, standing, keeping = new Keeping(instance) } = instance;
    const { sessions, unasked: mine, recalling, link } = keeping;
    const of = open.get(instance) ?? { kept: 0, unasked: 0, due: 0 };
    same(`kept sessions of instance ${id}`, sessions, of.kept);
    same(`kept sessions of instance ${id} not asked for`, mine.size, of.unasked);
    same(`recalls due of instance ${id}`, recalling, of.due);
    require(standing === "pooled" || mine.size === 0, `${id} left and was not asked for`);
    same(`list of kept instance ${id}`, link.list, listFor(state, keeping));
  }
  for (const application of state.applications.values()) {
    const { root, unasked: mine, recalling, awaited, line, available, full } = application;
    const inOrder = unasked.get(application) ?? [];
    const isInOrder = [...mine].every((kept, at) => kept === inOrder[at]);
    require(isInOrder && mine.size === inOrder.length, `kept sessions of ${root} are out of order`);
    const pooled = [...available, ...full];
    const due = pooled.reduce((all, { keeping }) => all + (keeping?.recalling ?? 0), 0);
    same(`recalls due of ${root}`, recalling, due);
    require(mine.size === 0 || awaited >= line.size, `${root} could ask for a kept session`);
  }
  let usedMs = Number.NEGATIVE_INFINITY;
  for (const { instance } of state.kept.reclaimable) {
    require(instance.lastUsedMs >= usedMs, "instances with kept sessions alone are out of order");
    usedMs = instance.lastUsedMs;
  }
  const { emptying, reclaimable } = state.kept;
  const excess = Math.max(0, state.places - state.limits.max);
  const sinceMs = state.options.shareAfterMs === undefined ? 0 : LOOK_MS;
  const isNew = (reclaimable.first?.instance.lastUsedMs ?? now) > now - sinceMs;
  const wanted = isNew ? excess : state.bare.size + excess;
  const isEnough = reclaimable.size === 0 || emptying.size >= wanted;
  require(isEnough, "an instance with kept sessions alone could be emptied");
}

function listFor(state: PoolState, { instance, sessions, unasked, recalling }: Keeping) {
  const all = instance.sessions;
  if (instance.standing !== "pooled" || all === 0 || all !== sessions) return undefined;
  if (unasked.size > 0) return state.kept.reclaimable;
  return recalling === all ? state.kept.emptying : undefined;
}

function checkMemory(state: PoolState, application: ApplicationRecord, now: number): void {
  const { root, count, outside, spawning, replacing, line, settings } = application;
  const { failures, alarm } = application;
  const left = count + outside.size + spawning + replacing + line.size;
  if (left > 0 || settings !== NO_SETTINGS) return;
  require(failures.count > 0, `${root} has nothing left and is not forgotten`);
  require(alarm.heap === state.alarms && alarm.key > now, `${root} would never be forgotten`);
}

function sum(state: PoolState, of: (application: ApplicationRecord) => number): number {
  let total = 0;
  for (const application of state.applications.values()) total += of(application);
  return total;
}

function same(what: string, actual: unknown, expected: unknown): void {
  if (actual === expected) return;
  throw new Error(`pool invariant: ${what}: ${String(actual)} instead of ${String(expected)}`);
}

function require(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(`pool invariant: ${otherwise}`);
}
