/**
 * The part of the pool's state that is about spawns: planned, begun, with a slot or without. As in
 * state.ts, each change keeps every list and sum in agreement and records its effect.
 */

import type { AppRequest } from "../wire/app-request.ts";
import { type ApplicationRecord, Spawn } from "./application.ts";
import { newCounters } from "./counters.ts";
import { Heap } from "./heap.ts";
import { List } from "./list.ts";
import type { Effect, PoolOptions, SpawnId } from "./types.ts";

/** Shared by all events without effects, which the closing of a session usually is. */
const NO_EFFECTS: readonly never[] = Object.freeze([]);

/** A slot more counts for more than any place in the order of planning; sums stay exact. */
const SLOT_WEIGHT = 2 ** 40;

export class SpawnState {
  readonly options: PoolOptions;
  /** When the event at hand happened. */
  now = Number.NEGATIVE_INFINITY;
  /** Spawns that have begun, outdated ones included. */
  readonly begun = new Map<SpawnId, Spawn>();
  /** In the order of planning. */
  readonly planned = new List<Spawn>();
  /** Spawns that hold a slot, oldest first. */
  readonly slots = new List<Spawn>();
  /** Spawns that have a place and had a slot for so long that they may hang, oldest first. */
  readonly slow = new List<Spawn>();
  /** Spawns under way whose places others have. */
  unplaced = 0;
  /** Applications with a planned spawn: fewest slots first, then first planned. */
  readonly turns = new Heap<ApplicationRecord>();
  outdatedSpawns = 0;
  /** Spawns under way for worn instances (worn.ts); they hold slots, but no places. */
  readonly replacements = new Map<SpawnId, Spawn>();
  /** Applications that may have fewer instances than are wanted without anybody asking. */
  readonly short = new Set<ApplicationRecord>();
  /** Applications that may have nothing left, some twice; looked at when the event is over. */
  readonly maybeEmpty: ApplicationRecord[] = [];
  readonly counters = newCounters();
  nextWaiter = 0;
  /** What was decided since it was taken last. */
  effects: Effect[] = [];
  #nextSpawn = 0;

  constructor(options: PoolOptions) {
    this.options = options;
  }

  takeEffects(): readonly Effect[] {
    if (this.effects.length === 0) return NO_EFFECTS;
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  /** Takes a place for a new instance. */
  plan(application: ApplicationRecord, options: AppRequest): void {
    const spawn = new Spawn(application, options, this.counters.spawnsPlanned++, this.now);
    this.planned.pushBack(spawn.turn);
    application.planned.pushBack(spawn.order);
    this.#queueForSlot(application);
  }

  /** Gives a planned spawn up, and its place. */
  drop(spawn: Spawn): void {
    this.planned.remove(spawn.turn);
    spawn.application.planned.remove(spawn.order);
    this.#queueForSlot(spawn.application);
    this.counters.spawnsDropped++;
    this.maybeEmpty.push(spawn.application);
    this.fallShort(spawn.application);
  }

  /** @param hasSlot whether it takes one of the slots, or has waited for one for too long. */
  begin(spawn: Spawn, hasSlot: boolean): void {
    const { application } = spawn;
    this.planned.remove(spawn.turn);
    application.planned.remove(spawn.order);
    application.begun.pushBack(spawn.order);
    this.begun.set(this.#begin(spawn, hasSlot), spawn);
  }

  /** Begins a spawn for a worn instance of an application. It takes a slot, and no place. */
  beginReplacement(application: ApplicationRecord, options: AppRequest): void {
    const spawn = new Spawn(application, options, this.counters.spawnsPlanned++, this.now);
    spawn.isPlaced = false;
    application.replacement = spawn;
    application.replacing++;
    this.replacements.set(this.#begin(spawn, true), spawn);
  }

  #begin(spawn: Spawn, hasSlot: boolean): SpawnId {
    const { application } = spawn;
    if (hasSlot) {
      this.slots.pushBack(spawn.turn);
      application.slots++;
    }
    this.#queueForSlot(application);
    const id = this.#nextSpawn++ as SpawnId;
    spawn.id = id;
    spawn.sinceMs = this.now;
    spawn.beganAt = this.nextWaiter;
    this.counters.spawnsBegun++;
    this.effects.push({ kind: "spawn", spawn: id, root: application.root, options: spawn.options });
    return id;
  }

  /** Whether an application may take a slot: it has fewer than are free. */
  hasSlotFor(application: ApplicationRecord): boolean {
    return application.slots < this.options.spawnsAtOnce - this.slots.size;
  }

  /** A replacement has ended, well or not. @returns whether its code is the one there is now. */
  endReplacement(spawn: Spawn): boolean {
    const { application } = spawn;
    this.#freeSlot(spawn);
    if (spawn.id !== undefined) this.replacements.delete(spawn.id);
    this.maybeEmpty.push(application);
    application.replacing--;
    if (application.replacement !== spawn) return false;
    application.replacement = undefined;
    return true;
  }

  /** A spawn takes so long that it may hang: it gives its slot up. */
  slowDown(spawn: Spawn): void {
    this.#freeSlot(spawn);
    if (spawn.isPlaced) this.slow.pushBack(spawn.turn);
  }

  /** A spawn under way gives its place to another. */
  unplace(spawn: Spawn): void {
    if (spawn.turn.list === this.slow) this.slow.remove(spawn.turn);
    spawn.isPlaced = false;
    spawn.application.unplaced++;
    this.unplaced++;
  }

  #freeSlot(spawn: Spawn): void {
    if (spawn.turn.list !== this.slots) return;
    this.slots.remove(spawn.turn);
    spawn.application.slots--;
    this.#queueForSlot(spawn.application);
  }

  /** A begun spawn has ended, well or not. */
  end(spawn: Spawn): void {
    this.#freeSlot(spawn);
    if (spawn.turn.list === this.slow) this.slow.remove(spawn.turn);
    if (!spawn.isPlaced) {
      this.unplaced--;
      spawn.application.unplaced--;
    }
    if (spawn.id !== undefined) this.begun.delete(spawn.id);
    if (spawn.order.list === spawn.application.outdated) this.outdatedSpawns--;
    spawn.order.list?.remove(spawn.order);
    this.maybeEmpty.push(spawn.application);
    this.fallShort(spawn.application);
  }

  /** Spawns that have begun no longer count for later gets, and no get waits for a replacement. */
  outdateSpawns(application: ApplicationRecord): void {
    const { replacement } = application;
    if (replacement?.id !== undefined) {
      this.effects.push({ kind: "endSpawn", spawn: replacement.id });
    }
    application.replacement = undefined;
    this.fallShort(application);
    for (const spawn of application.begun) {
      spawn.servesBefore = this.nextWaiter;
      application.begun.remove(spawn.order);
      application.outdated.pushBack(spawn.order);
      this.outdatedSpawns++;
    }
  }

  #queueForSlot(application: ApplicationRecord): void {
    const { planned, slots, turn } = application;
    const { first } = planned;
    if (first === undefined) this.turns.remove(turn);
    else this.turns.set(turn, slots * SLOT_WEIGHT + first.number);
  }

  /** An application may have fewer instances than are wanted without anybody asking. */
  fallShort(application: ApplicationRecord): void {
    if (application.minInstances > 0) this.short.add(application);
  }
}
