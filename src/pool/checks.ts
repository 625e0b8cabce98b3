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
  requireWhole("maxWaitMs", options.maxWaitMs, 0);
  requireWhole("maxQueue", options.maxQueue, 0);
  requireWhole("abandonMs", options.abandonMs ?? 0, 0);
  requireWhole("requestMs", options.requestMs ?? 0, 0);
  requireWhole("shareAfterMs", options.shareAfterMs ?? 1, 1);
  requireWhole("spawnsAtOnce", options.spawnsAtOnce, 1);
  if (options.slowSpawnMs !== Infinity) requireWhole("slowSpawnMs", options.slowSpawnMs, 1);
  if (options.failurePause !== undefined) {
    requireWhole("failurePause.firstMs", options.failurePause.firstMs, 1);
    requireWhole("failurePause.maxMs", options.failurePause.maxMs, 1);
  }
}

/** @throws RangeError. */
export function checkedLimits(limits: PoolLimits): PoolLimits {
  requireWhole("max", limits.max, 1);
  requireWhole("maxPerApp", limits.maxPerApp, 0);
  requireWhole("maxIdleMs", limits.maxIdleMs, 0);
  return limits;
}

/** Own settings of an application; NO_SETTINGS if there are none. @throws RangeError. */
export function checkedSettings(settings: ApplicationSettings): ApplicationSettings {
  const { maxInstances = 0, maxQueue, weight, abandonMs, requestMs } = settings;
  requireWhole("weight", weight ?? 1, 1);
  requireWhole("maxInstances", maxInstances, 0);
  requireWhole("maxQueue", maxQueue ?? 0, 0);
  requireWhole("abandonMs", abandonMs ?? 0, 0);
  requireWhole("requestMs", requestMs ?? 0, 0);
  requireWhole("minInstances", settings.minInstances ?? 0, 0);
  requireWhole("maxRequests", settings.maxRequests ?? 0, 0);
  requireWhole("maxAgeMs", settings.maxAgeMs ?? 0, 0);
  if (settings.maxIdleMs !== Infinity) requireWhole("maxIdleMs", settings.maxIdleMs ?? 0, 0);
  const checked = { ...settings, maxInstances: maxInstances === 0 ? undefined : maxInstances };
  return Object.values(checked).every((value) => value === undefined) ? NO_SETTINGS : checked;
}

/** @throws RangeError. */
export function requireWhole(name: string, value: number, least: number, most = Infinity): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`pool: ${name} is ${value}, not a whole number of ${least} or more`);
}
