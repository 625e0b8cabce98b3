/**
 * The OpenMetrics text format, version 1.0.0: families of samples in, lines out. It knows the
 * format's rules (suffixes, units, escapes, `# EOF`) and nothing of what is measured. Counters end
 * in `_total`, infos in `_info`; a family with a unit ends in the unit. Breaking such a rule is a
 * mistake of ours and throws.
 */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** Samples of one name. Without samples the family is left out. */
export interface Family {
  /** Without prefix and without `_total` or `_info`. */
  readonly name: string;
  readonly type: "counter" | "gauge" | "info";
  readonly unit?: "seconds" | "bytes";
  /** One sentence. */
  readonly help: string;
  readonly samples: readonly Sample[];
}

const suffixes = { counter: "_total", gauge: "", info: "_info" } as const;

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
  if (family.unit !== undefined) yield `# UNIT ${name} ${family.unit}`;
  yield `# HELP ${name} ${escapeText(family.help)}`;
  for (const { labels, value } of family.samples) {
    yield `${name}${suffixes[family.type]}${formatLabels(labels)} ${formatNumber(value)}`;
  }
}

function checkName(name: string, family: Family): void {
  const endsRight = family.unit === undefined || name.endsWith(`_${family.unit}`);
  if (/^[a-z][a-z0-9_]*$/.test(name) && !/_(total|info)$/.test(name) && endsRight) return;
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
