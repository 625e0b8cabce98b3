/**
 * What `bench http` measured → tables in Markdown. Pure. Every server was measured in turn with
 * the first of its kind, so a figure in parentheses is the median of the rounds' ratios, not the
 * ratio of two medians.
 */
import { median } from "./rows.ts";

/** One quantity of one server, once for each round. */
export interface Figure {
  /** The row's group, a kind of application. */
  readonly group: string;
  readonly server: string;
  readonly column: string;
  readonly runs: readonly number[];
}

export interface Section {
  readonly title: string;
  readonly columns: readonly string[];
}

/** Three digits or so. */
export function show(value: number): string {
  const digits = value >= 100 || value === 0 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** Median of the figures and, beside those of `first`, of what `first` is of them in each round. */
function cell(figure: Figure | undefined, first: Figure | undefined): string {
  if (figure === undefined) return "–";
  const value = show(median(figure.runs));
  if (first === undefined || first === figure) return value;
  const ratios = figure.runs.flatMap((run, round) => {
    const ours = first.runs[round];
    return ours === undefined || run === 0 ? [] : [ours / run];
  });
  return ratios.length === 0 ? value : `${value} (${median(ratios).toFixed(2)})`;
}

/** Lines of equal width, the first columns (as a rule two) to the left, the others to the right. */
export function markdownTable(
  head: readonly string[],
  body: readonly (readonly string[])[],
  toTheLeft = 2,
): string {
  const widths = head.map((name, column) =>
    Math.max(3, name.length, ...body.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string => {
    const padded = widths.map((width, column) => {
      const text = row[column] ?? "";
      return column < toTheLeft ? text.padEnd(width) : text.padStart(width);
    });
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, column) => {
    return column < toTheLeft ? "-".repeat(width) : `${"-".repeat(width - 1)}:`;
  });
  return [line(head), `| ${rule.join(" | ")} |`, ...body.map(line)].join("\n");
}

/** The table of a section; empty when nothing of it was measured. */
export function sectionTable(section: Section, figures: readonly Figure[]): string {
  const ours = figures.filter(({ column }) => section.columns.includes(column));
  const columns = section.columns.filter((name) => ours.some(({ column }) => column === name));
  if (columns.length === 0) return "";
  const find = (group: string, server: string, column: string): Figure | undefined =>
    ours.find((it) => it.group === group && it.server === server && it.column === column);
  const rows = [...new Set(ours.map(({ group }) => group))].flatMap((group) => {
    const servers = [...new Set(ours.filter((it) => it.group === group).map((it) => it.server))];
    const [first = ""] = servers;
    return servers.map((server, at) => [
      at === 0 ? group : "",
      server,
      ...columns.map((column) => cell(find(group, server, column), find(group, first, column))),
    ]);
  });
  return `${section.title}\n\n${markdownTable(["", "server", ...columns], rows)}\n`;
}
