/**
 * A control group for each application that has a limit which only a group can keep: its instances,
 * its preloader, and all that they start are in it from before their first own instruction. What
 * cannot be had is said once, and applications start all the same. Nothing here throws.
 */
import { existsSync } from "node:fs";
import { basename } from "node:path";

import { isRemoved, removeGroup } from "../../native/control-groups.ts";
import { escapeForLog, toText, type ByteString } from "../../wire/bytes.ts";
import { causeText } from "../../wire/cause.ts";
import { keyOfLimit, wantsGroup, type KernelLimits } from "../../wire/kernel-limits.ts";
import type { Notify } from "../spawner.ts";
import { AppGroup, groupKeys, memoryCause, type GroupKey } from "./app-group.ts";
import { GroupHome } from "./group-home.ts";
import { tooHigh } from "./resource-limits.ts";

/** How often it is looked whether the kernel has refused or ended something that nobody saw. */
const lookEveryMs = 10_000;

/** A limit as the configuration names it, and why it is not kept. */
interface Unkept {
  readonly key: string;
  readonly cause: string;
}

export class AppGroups {
  readonly #notify: Notify;
  readonly #groups = new Map<ByteString, AppGroup>();
  /** Keys of which it has been said that they are not kept. */
  readonly #said = new Set<string>();
  #home: GroupHome | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(notify: Notify) {
    this.#notify = notify;
  }

  /** What an application may take from now on; says what cannot be kept. */
  expect(root: ByteString, limits: KernelLimits): void {
    this.#prepare(root, limits, false);
  }

  /** The group of an application that is to have one, and can. */
  of(root: ByteString, limits: KernelLimits): AppGroup | undefined {
    return this.#prepare(root, limits, true);
  }

  /** There is no such application any more. */
  forget(root: ByteString): void {
    const group = this.#groups.get(root);
    if (group !== undefined) group.isForgotten = true;
    this.left(root);
  }

  /** A process of it has ended, and what it had left with it. */
  left(root: ByteString): void {
    const group = this.#groups.get(root);
    if (group?.isForgotten === true && isRemoved(group.path)) this.#groups.delete(root);
  }

  /** Ends what is left in the groups, and removes them. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(Array.from(this.#groups.values(), ({ path }) => removeGroup(path)));
  }

  #prepare(root: ByteString, limits: KernelLimits, mayMake: boolean): AppGroup | undefined {
    const kept = this.#keepable(root, limits);
    const known = this.#groups.get(root);
    if (known === undefined && !wantsGroup(limits)) return undefined;
    try {
      const group = known !== undefined && existsSync(known.path) ? known : undefined;
      if (group === undefined && !(mayMake && wantsGroup(kept))) return undefined;
      return this.#apply(root, group ?? this.#make(root), kept);
    } catch (error) {
      const cause = causeText(error);
      this.#say(
        root,
        wantedOf(limits).map(({ name }) => ({ key: keyOfLimit(name), cause })),
      );
      return undefined;
    }
  }

  /** What of the limits can be kept here; the rest is said. */
  #keepable(root: ByteString, limits: KernelLimits): KernelLimits {
    const unkept: Unkept[] = tooHigh(limits.limits).map(({ name, limit }) => {
      const cause = `the server may have ${limit} itself (ulimit -H, or a Limit of its unit)`;
      return { key: `limits.${keyOfLimit(name)}`, cause };
    });
    const kept = wantedOf(limits).filter((wanted) => {
      const cause = this.#whyNot(wanted);
      if (cause !== undefined) unkept.push({ key: keyOfLimit(wanted.name), cause });
      return cause === undefined;
    });
    this.#say(root, unkept);
    return Object.fromEntries(kept.map(({ name }) => [name, limits[name]]));
  }

  #whyNot({ controller }: GroupKey): string | undefined {
    try {
      this.#home ??= new GroupHome();
      this.#home.enable(controller);
      return undefined;
    } catch (error) {
      return causeText(error);
    }
  }

  #make(root: ByteString): AppGroup {
    this.#home ??= new GroupHome();
    return new AppGroup(this.#home.make(basename(toText(root))));
  }

  #apply(root: ByteString, group: AppGroup, limits: KernelLimits): AppGroup {
    this.#groups.set(root, group);
    group.isForgotten = false;
    group.apply(limits).catch((error: unknown) => {
      if (existsSync(group.path)) this.#say(root, [{ key: "memory_max", cause: causeText(error) }]);
    });
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs).unref();
    return group;
  }

  #look(): void {
    for (const [root, group] of this.#groups) {
      const app = escapeForLog(root);
      const count = group.unseenKills();
      const [cause, max] = [memoryCause, group.newlyFull()];
      if (count > 0) {
        this.#notify(0, "processes of an application are ended", { app, count, cause });
      }
      if (max === undefined) continue;
      const why = `tasks_max, ${max}, is reached`;
      this.#notify(0, "an application gets no more processes or threads", { app, cause: why });
    }
  }

  /** In one sentence. */
  #say(root: ByteString, unkept: readonly Unkept[]): void {
    const unsaid = unkept.filter(({ key }) => !this.#said.has(key));
    if (unsaid.length === 0) return;
    for (const { key } of unsaid) this.#said.add(key);
    const causes = Map.groupBy(unsaid, ({ cause }) => cause);
    const isOne = causes.size === 1;
    const each = Array.from(causes, ([why, of]) => (isOne ? why : `${keysOf(of)}: ${why}`));
    const cause = each.join("; ");
    const fields = { keys: keysOf(unsaid), app: escapeForLog(root), cause };
    this.#notify(0, "limits are not kept, applications run without", fields);
  }
}

function keysOf(unkept: readonly Unkept[]): string {
  return unkept.map(({ key }) => key).join(", ");
}

function wantedOf(limits: KernelLimits): GroupKey[] {
  return groupKeys.filter(({ name }) => limits[name] !== undefined);
}
