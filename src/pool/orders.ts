/** What operators change: limits, the settings of an application, and that all is let go. */

import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import { reconsider } from "./ahead.ts";
import type { ApplicationRecord } from "./application.ts";
import { dropAboveMax, settleAll, shedIdle } from "./settle.ts";
import type { PoolState } from "./state.ts";
import type { ApplicationSettings, PoolLimits } from "./types.ts";

/** Lowering max lets idle instances go at once, and busy ones when they are done. */
export function changeLimits(state: PoolState, limits: PoolLimits): void {
  state.limits = limits;
  const all = new Set(state.applications.values());
  for (const application of all) reconsider(state, application);
  shedIdle(state);
  dropAboveMax(state);
  settleAll(state, all);
}

/** Gives an application other settings. @param options for spawns that no get is for. */
export function changeSettings(
  state: PoolState,
  root: ByteString,
  settings: ApplicationSettings,
  options: AppRequest | undefined,
): ApplicationRecord {
  const application = state.application(root);
  application.settings = settings;
  // Instances from now on may serve another number of sessions at once.
  application.lastConcurrency = undefined;
  if (options !== undefined) application.options = options;
  state.maybeEmpty.push(application);
  reconsider(state, application);
  return application;
}

/** Lets all instances go, or those of one application. */
export function clear(state: PoolState, root: ByteString | undefined): void {
  state.counters.clears++;
  const one = root === undefined ? undefined : state.applications.get(root);
  const all = new Set(root === undefined ? state.applications.values() : one && [one]);
  for (const application of all) state.outdate(application, "cleared");
  settleAll(state, all);
}
