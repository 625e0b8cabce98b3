/** Answers in the bytes that came back, read by rules of their own: no code of the server. */

export interface RawAnswer {
  /** -1: it is none. */
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly isWhole: boolean;
}

/** @param methods of the requests, in their order. */
export function answersIn(data: string, methods: readonly string[]): RawAnswer[] {
  const found: RawAnswer[] = [];
  let finals = 0;
  for (let at = 0; at < data.length;) {
    const end = data.indexOf("\r\n\r\n", at);
    const match = /^HTTP\/1\.\d (\d+)/.exec(data.slice(at, at + 20));
    if (match === null || end < 0) {
      return [...found, { status: -1, headers: new Map(), isWhole: false }];
    }
    const status = Number(match[1]);
    const headers = headersIn(data.slice(at, end));
    const isInterim = status < 200 && status !== 101;
    const noBody = isInterim || methods[finals] === "HEAD" || status === 204 || status === 304;
    if (!isInterim) finals += 1;
    const next = noBody ? end + 4 : endOfBody(data, end + 4, headers);
    found.push({ status, headers, isWhole: next !== undefined });
    if (next === undefined) return found;
    at = next;
  }
  return found;
}

function headersIn(head: string): Map<string, string> {
  const lines = head.split("\r\n").slice(1);
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

/** Undefined: it is not whole. */
function endOfBody(data: string, from: number, headers: Map<string, string>): number | undefined {
  if (headers.has("transfer-encoding")) return endOfChunks(data, from);
  const length = headers.get("content-length");
  if (length === undefined) return data.length;
  const end = from + Number(length);
  return end <= data.length ? end : undefined;
}

function endOfChunks(data: string, from: number): number | undefined {
  for (let at = from; ;) {
    const end = data.indexOf("\r\n", at);
    const size = end < 0 ? Number.NaN : Number.parseInt(data.slice(at, end), 16);
    if (Number.isNaN(size)) return undefined;
    if (size === 0) return data.startsWith("\r\n", end + 2) ? end + 4 : undefined;
    at = end + 4 + size;
  }
}
