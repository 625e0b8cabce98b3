/** Times and sizes as people write them: `10s`, `500ms`, `64k`, `10m`. */

const timeUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const sizeUnits: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** A time with its unit (`ms`, `s`, `m`, `h`, `d`) in milliseconds; undefined: it is none. */
export function parseTime(text: string): number | undefined {
  const [, digits, unit = ""] = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Math.round(Number(digits) * (timeUnits[unit] ?? 0));
}

/** A size in bytes, with a unit of 1024 (`k`), 1024² (`m`) or 1024³ (`g`), or without. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit = ""] = /^([0-9]{1,12})([kmg]?)b?$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return Number(digits) * (sizeUnits[unit.toLowerCase()] ?? 1);
}

/** A time for people: the largest unit that shows it whole. */
export function showTime(ms: number): string {
  const unit = ["h", "m", "s"].find((name) => ms > 0 && ms % (timeUnits[name] ?? 1) === 0) ?? "ms";
  return ms === 0 ? "0s" : `${ms / (timeUnits[unit] ?? 1)}${unit}`;
}

/** A size for people. */
export function showSize(bytes: number): string {
  const unit = ["g", "m", "k"].find((name) => bytes > 0 && bytes % (sizeUnits[name] ?? 1) === 0);
  return unit === undefined ? String(bytes) : `${bytes / (sizeUnits[unit] ?? 1)}${unit}`;
}
