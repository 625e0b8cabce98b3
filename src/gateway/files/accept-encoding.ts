/** What a visitor takes of the codings in which there may be a file (RFC 9110 section 12.5.3). */

export interface Coding {
  /** For Content-Encoding. */
  readonly name: "br" | "gzip";
  /** What is appended to the file's name. */
  readonly extension: string;
}

/** The smaller first: it is taken among those a visitor likes equally. */
const codings: readonly Coding[] = [
  { name: "br", extension: ".br" },
  { name: "gzip", extension: ".gz" },
];

/** The codings the header accepts more than none at all, the best first. */
export function acceptedCodings(header: string | null): readonly Coding[] {
  if (header === null) return [];
  const weights = weightsIn(header);
  const weightOf = ({ name }: Coding): number =>
    weights.get(name) ??
    (name === "gzip" ? weights.get("x-gzip") : undefined) ??
    weights.get("*") ??
    0;
  const plain = weights.get("identity") ?? 0;
  return codings
    .filter((coding) => weightOf(coding) > 0 && weightOf(coding) >= plain)
    .toSorted((a, b) => weightOf(b) - weightOf(a));
}

function weightsIn(header: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const item of header.toLowerCase().split(",")) {
    const match = /^\s*([\w*-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/.exec(item);
    if (match?.[1] !== undefined) weights.set(match[1], Number(match[2] ?? "1"));
  }
  return weights;
}
