/** The pool's settings at the door: what it is made with and told must make sense. */

import { NO_SETTINGS } from "./application.ts";
import type { ApplicationSettings, PoolLimits, PoolOptions } from "./types.ts";

export const DEFAULT_LIMITS: PoolLimits = {
  max: 20,
  maxPerApp: 0,
  maxIdleMs: 120_000,
  useGlobalQueue: false,
};

/** @throws RangeError. */
export function checkOptions(options: PoolOptions): void {
  const { spawnsAtOnce, shareAfterMs = 1, slowSpawnMs, failurePause, ...others } = options;
  requireWholes({ spawnsAtOnce, shareAfterMs, ...failurePause }, 1);
  if (slowSpawnMs !== Infinity) requireWhole("slowSpawnMs", slowSpawnMs, 1);
  requireWholes(others, 0);
}

/** @throws RangeError. */
export function checkedLimits(limits: PoolLimits): PoolLimits {
  const { max, maxPerApp, maxIdleMs } = limits;
  requireWhole("max", max, 1);
  requireWholes({ maxPerApp, maxIdleMs }, 0);
  return limits;
}

/** Own settings of an application; NO_SETTINGS if there are none. @throws RangeError. */
export function checkedSettings(settings: ApplicationSettings): ApplicationSettings {
  const { maxInstances = 0, weight = 1, maxIdleMs, isRolling: _, ...others } = settings;
  requireWhole("weight", weight, 1);
  if (maxIdleMs !== Infinity) requireWhole("maxIdleMs", maxIdleMs ?? 0, 0);
  requireWholes({ maxInstances, ...others }, 0);
  const checked = { ...settings, maxInstances: maxInstances === 0 ? undefined : maxInstances };
  return Object.values(checked).every((value) => value === undefined) ? NO_SETTINGS : checked;
}

function requireWholes(values: Readonly<Record<string, number | undefined>>, least: number): void {
  for (const [name, value = least] of Object.entries(values)) requireWhole(name, value, least);
}

/** @throws RangeError. */
export function requireWhole(name: string, value: number, least: number, most = Infinity): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`pool: ${name} is ${value}, not a whole number of ${least} or more`);
}
