/**
 * Tables and lines of text for a terminal. A table is as wide as it has to be; where the terminal
 * is narrower, what stands in the last column goes below its line, then gaps shrink, then the first
 * column is shortened if it is text.
 */

export interface Column {
  readonly title: string;
  /** Set to the right. */
  readonly isNumber?: boolean;
}

/** What is left of a text in the first column, at least. */
const minFirst = 8;
const indent = "  ";
/** Lines of what stands below a line. */
const maxBelow = 4;

/** @param width of the terminal in characters; Infinity: nothing is cut. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? "").length)));
  if (total(widths, 2) <= width) return joined(lines.map((line) => row(columns, line, widths, 2)));
  const fixed = columns.slice(0, -1);
  const [first = 0, ...others] = widths.slice(0, -1);
  const gap = total([first, ...others], 2) <= width ? 2 : 1;
  const left = width - total([0, ...others], gap);
  const isText = columns[0]?.isNumber !== true;
  const shown = isText ? Math.min(first, Math.max(minFirst, left)) : first;
  const texts = lines.flatMap(([name = "", ...cells], at) => {
    const whole = row(fixed, [shortened(name, shown), ...cells], [shown, ...others], gap);
    const below = at === 0 ? "" : (cells.at(columns.length - 2) ?? "");
    return [cut(whole, width), ...(below === "" ? [] : begun(wrapped(below, width, indent)))];
  });
  return joined(texts);
}

function begun(lines: readonly string[]): string[] {
  const shown = lines.slice(0, maxBelow);
  return lines.length <= maxBelow ? shown : [...shown.slice(0, -1), `${indent}…`];
}

/** Lines of whole words, as far as they fit. @param start of each; @param first of the first. */
export function wrapped(text: string, width: number, start: string, first = start): string[] {
  const lines: string[] = [];
  let line = first;
  let isBegun = false;
  for (const word of text.split(" ").filter(Boolean)) {
    if (isBegun && line.length + 1 + word.length > width) {
      lines.push(line);
      [line, isBegun] = [start, false];
    }
    line += isBegun ? ` ${word}` : word;
    isBegun = true;
  }
  return [...lines, line].map((one) => cut(one, width));
}

function total(widths: readonly number[], gap: number): number {
  return widths.reduce((sum, one) => sum + one + gap, -gap);
}

function row(
  columns: readonly Column[],
  cells: readonly string[],
  widths: readonly number[],
  gap: number,
): string {
  const texts = columns.map(({ isNumber = false }, at) => {
    const [cell, room] = [cells[at] ?? "", widths[at] ?? 0];
    return isNumber ? cell.padStart(room) : cell.padEnd(room);
  });
  return texts.join(" ".repeat(gap)).trimEnd();
}

function joined(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}

/** Without its middle: names often differ at their ends. */
function shortened(text: string, width: number): string {
  if (text.length <= width) return text;
  const half = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - half)}…${text.slice(text.length - half)}`;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
