/** Tables of text for a terminal: columns as wide as they have to be, the last one cut. */

export interface Column {
  readonly title: string;
  /** Set to the right. */
  readonly isNumber?: boolean;
}

const gap = "  ";

/** @param width of the terminal in characters; Infinity: nothing is cut. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? "").length)));
  const texts = lines.map((line) =>
    columns
      .map(({ isNumber = false }, at) => {
        const cell = line[at] ?? "";
        const cellWidth = widths[at] ?? 0;
        return isNumber ? cell.padStart(cellWidth) : cell.padEnd(cellWidth);
      })
      .join(gap)
      .trimEnd(),
  );
  return `${texts.map((text) => cut(text, width)).join("\n")}\n`;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}
