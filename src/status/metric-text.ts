/**
 * The OpenMetrics text format, version 1.0.0: families of samples in, lines out. It knows the
 * format's rules (suffixes, units, escapes, `# EOF`) and nothing of what is measured. Counters end
 * in `_total`, infos in `_info`; the end of a name is its unit. Breaking such a rule is a mistake
 * of ours and throws.
 */

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
export function formatOpenMetrics(prefix: string, families: readonly Family[]): string {
  const lines: string[] = [];
  for (const family of families) {
    if (family.samples.length > 0) lines.push(...familyLines(prefix, family));
  }
  lines.push("# EOF", "");
  return lines.join("\n");
}

function* familyLines(prefix: string, family: Family): Generator<string> {
  const name = prefix + family.name;
  checkName(name, family);
  yield `# TYPE ${name} ${family.type}`;
  const unit = /_(seconds|bytes)$/.exec(name)?.[1];
  if (unit !== undefined) yield `# UNIT ${name} ${unit}`;
  yield `# HELP ${name} ${escapeText(family.help)}`;
  for (const { labels, value, part = "" } of family.samples) {
    yield `${name}${suffixes[family.type]}${part}${formatLabels(labels)} ${formatNumber(value)}`;
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

/** Label values and help texts have the same three escapes. */
function escapeText(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
