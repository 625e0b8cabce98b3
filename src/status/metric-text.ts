/**
 * Figures as text: families of samples in, lines out, in one of two formats: OpenMetrics 1.0.0, and
 * the format of Prometheus that it was made from, 0.0.4, which older programs read. It knows the
 * formats' rules (suffixes, units, escapes, `# EOF`) and nothing of what is measured. Counters end
 * in `_total`, infos in `_info`; the end of a name is its unit. Breaking such a rule is a mistake
 * of ours and throws.
 */

import type { MetricFormat } from "../wire/metric-format.ts";

type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
  /** Which part of a histogram it is. */
  readonly part?: "_bucket" | "_count" | "_sum";
}

/** Samples of one name. Without samples the family is left out. */
export interface Family {
  /** Without prefix and without `_total` or `_info`; ends in its unit, if it has one. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "info" | "histogram";
  /** One sentence. */
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** @param of one value without labels, or samples. */
export function gauge(name: string, help: string, of: number | readonly Sample[]): Family {
  return { name, type: "gauge", help, samples: samplesOf(of) };
}

/** As `gauge`. */
export function counter(name: string, help: string, of: number | readonly Sample[]): Family {
  return { name, type: "counter", help, samples: samplesOf(of) };
}

function samplesOf(of: number | readonly Sample[]): readonly Sample[] {
  return typeof of === "number" ? [{ value: of }] : of;
}

/** A sample for each value of a label. */
export function byLabel(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([of, value]) => ({ labels: { [label]: of }, value }));
}

const suffixes = { counter: "_total", gauge: "", info: "_info", histogram: "" } as const;

/** Values in buckets. */
interface Counted {
  readonly labels: Labels;
  /** Of each bucket by itself; the last has what is past all ends. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Of each it says for each upper end how many lie below, then all of them. */
export function histogram(
  name: string,
  help: string,
  ends: readonly number[],
  all: readonly Counted[],
): Family {
  const samples = all.flatMap(({ labels, counts, sum }): Sample[] => {
    let below = 0;
    const buckets = [...ends, Infinity].map((end, at): Sample => {
      below += counts[at] ?? 0;
      return { labels: { ...labels, le: canonical(end) }, value: below, part: "_bucket" };
    });
    return [
      ...buckets,
      { labels, value: below, part: "_count" },
      { labels, value: sum, part: "_sum" },
    ];
  });
  return { name, type: "histogram", help, samples };
}

/** As the format has a number in a label: a whole one with a point. */
function canonical(end: number): string {
  return Number.isInteger(end) ? `${end}.0` : formatNumber(end);
}

/** The exposition of `families`, each name after `prefix`. */
export function formatMetrics(
  format: MetricFormat,
  prefix: string,
  families: readonly Family[],
): string {
  const lines = families
    .filter(({ samples }) => samples.length > 0)
    .flatMap((family) => [...familyLines(format, prefix, family)]);
  if (format === "openmetrics") lines.push("# EOF");
  return lines.map((line) => `${line}\n`).join("");
}

function* familyLines(format: MetricFormat, prefix: string, family: Family): Generator<string> {
  const name = prefix + family.name;
  checkName(name, family);
  const sample = name + suffixes[family.type];
  if (format === "openmetrics") {
    yield `# TYPE ${name} ${family.type}`;
    const unit = /_(seconds|bytes)$/.exec(name)?.[1];
    if (unit !== undefined) yield `# UNIT ${name} ${unit}`;
    yield `# HELP ${name} ${escapeText(family.help)}`;
  } else {
    // There a family has its samples' name, there are no infos, and quotes in a help are plain.
    yield `# HELP ${sample} ${escapeText(family.help).replaceAll('\\"', '"')}`;
    yield `# TYPE ${sample} ${family.type === "info" ? "gauge" : family.type}`;
  }
  for (const { labels, value, part = "" } of family.samples) {
    yield `${sample}${part}${formatLabels(labels)} ${formatNumber(value)}`;
  }
}

function checkName(name: string, family: Family): void {
  if (/^[a-z][a-z0-9_]*$/.test(name) && !/_(total|info|bucket|count|sum)$/.test(name)) return;
  throw new Error(`format metric '${name}': not a name for a ${family.type}`);
}

function formatLabels(labels: Labels | undefined): string {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return "";
  return `{${entries.map(([name, value]) => `${name}="${escapeText(value)}"`).join(",")}}`;
}

/** Label values and the help texts of OpenMetrics have the same three escapes. */
function escapeText(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
