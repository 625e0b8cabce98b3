/**
 * Numbers of many runs → rows of medians and ratios → a table. Pure.
 */

import type { Numbers } from "./load-tools.ts";
import type { Measurement } from "./measurements.ts";

export type Runs = Numbers[];

export interface Row {
  readonly measurement: string;
  readonly quantity: string;
  readonly server: number;
  readonly serverRuns: readonly number[];
  readonly baseline: number | undefined;
  readonly baselineRuns: readonly number[];
  /** server ÷ baseline; undefined without a baseline, or when it measured nothing. */
  readonly ratio: number | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new Error("median of nothing");
  return (lower + upper) / 2;
}

/** The time below which such a share of them lies; 0: there are none. */
export function quantile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function pick(runs: Runs, field: string): number[] {
  return runs.map((numbers) => {
    const value = numbers[field];
    if (value === undefined) throw new Error(`a run measured no ${field}`);
    return value;
  });
}

/** One row for each field of the measurement. `baseline` may be empty. */
export function compare(measurement: Measurement, server: Runs, baseline: Runs): Row[] {
  return Object.entries(measurement.fields).map(([field, quantity]) => {
    const serverRuns = pick(server, field);
    const baselineRuns = pick(baseline, field);
    const ours = median(serverRuns);
    const theirs = baselineRuns.length === 0 ? undefined : median(baselineRuns);
    return {
      measurement: measurement.title,
      quantity,
      server: ours,
      serverRuns,
      baseline: theirs,
      baselineRuns,
      ratio: theirs === undefined || theirs === 0 ? undefined : ours / theirs,
    };
  });
}

function show(value: number | undefined): string {
  if (value === undefined) return "";
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 2;
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

function cells(row: Row, withBaseline: boolean): string[] {
  const own = [row.measurement, row.quantity, show(row.server)];
  if (!withBaseline) return own;
  return [...own, show(row.baseline), row.ratio === undefined ? "–" : row.ratio.toFixed(2)];
}

/** A table for people; a measurement is named on its first row only. */
export function table(rows: readonly Row[], withBaseline: boolean): string {
  const head = ["measurement", "quantity", "server"];
  if (withBaseline) head.push("baseline", "ratio");
  const body = rows.map((row, at) => {
    const repeated = at > 0 && rows[at - 1]?.measurement === row.measurement;
    return cells(repeated ? { ...row, measurement: "" } : row, withBaseline);
  });
  const all = [head, ...body];
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  const format = (line: string[]): string =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column < 2 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  return all.map(format).join("\n");
}
