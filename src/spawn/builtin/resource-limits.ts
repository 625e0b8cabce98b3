/** The limits that a process is started with (getrlimit(2)): as asked for, and as may be. */
import {
  getLimit,
  resources,
  type DescriptorLimit,
  type ResourceLimit,
} from "../../native/process.ts";
import type { LimitName, ResourceLimits } from "../../wire/kernel-limits.ts";

/** As limits are sent about; 2^64 - 1, no limit, is -1. */
function asNumber(limit: bigint): number {
  return Number(BigInt.asIntN(64, limit));
}

/** The limit of descriptors that the server was given itself. */
export function originalLimit({ soft, hard }: DescriptorLimit): ResourceLimit {
  return [resources.openFiles, asNumber(soft), asNumber(hard)];
}

/** Our own limit of a kind, which those we start cannot exceed. */
function most(name: LimitName): number {
  return asNumber(getLimit(resources[name]).hard);
}

function lower(one: number, other: number): number {
  if (one === -1 || other === -1) return Math.max(one, other);
  return Math.min(one, other);
}

/** @param original of descriptors, where none is asked for. */
export function limitsFor(
  asked: ResourceLimits = {},
  original: DescriptorLimit | undefined,
): ResourceLimit[] {
  const given = entriesOf(asked).map(([name, [soft, hard]]): ResourceLimit => {
    const ours = most(name);
    return [resources[name], lower(soft, ours), lower(hard, ours)];
  });
  const isSaid = asked.openFiles !== undefined || original === undefined;
  return isSaid ? given : [originalLimit(original), ...given];
}

/** Those that are higher than ours, with what there is in their place. */
export function tooHigh(asked: ResourceLimits = {}): { name: LimitName; limit: number }[] {
  return entriesOf(asked).flatMap(([name, [, hard]]) => {
    const limit = most(name);
    return lower(hard, limit) === hard ? [] : [{ name, limit }];
  });
}

function entriesOf(asked: ResourceLimits) {
  const names = Object.keys(asked) as LimitName[];
  return names.flatMap((name) => (asked[name] ? [[name, asked[name]] as const] : []));
}
