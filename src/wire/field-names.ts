/**
 * Names of headers, and what requests and answers alike have in their values. A name is known by
 * how it was written: it is looked at once, then found again by one look into a map. What visitors
 * write is theirs to choose, so the map is bounded; a name that finds no room in it is looked at
 * each time it comes.
 */

/** Headers that mean something of their own to a connection or a message. */
const ownRoles = [
  ...(["host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"] as const),
  ...(["date", "status", "location"] as const),
];
/** Those that belong to a connection (RFC 9110, 7.6.1), and end with it. */
const hopByHop = [
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
];

/** `other`: it means nothing to us. */
type FieldRole = (typeof ownRoles)[number] | "hop-by-hop" | "other";

const roles: ReadonlyMap<string, FieldRole> = new Map([
  ...ownRoles.map((name) => [name, name] as const),
  ...hopByHop.map((name) => [name, "hop-by-hop"] as const),
]);

/** RFC 9110, 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export function isToken(text: string): boolean {
  return token.test(text);
}

/** A value without the blanks around it (RFC 9112, 5.1); to String.trim a byte A0 is one, too. */
export function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** A number of so many digits is exact. */
const maxLengthDigits = 15;

/** What a Content-Length says (RFC 9110, 8.6), in bytes; undefined: no such length. */
export function lengthOf(value: string): number | undefined {
  if (value === "" || value.length > maxLengthDigits) return undefined;
  let length = 0;
  for (let at = 0; at < value.length; at += 1) {
    const digit = value.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  return length;
}

/** Of the names that browsers, proxies and tools write, in all their spellings, there are fewer. */
const maxNames = 1000;
/** Lines of a head whose names are remembered by their place. */
const maxPlaces = 200;

export interface FieldName {
  readonly lowerCase: string;
  readonly role: FieldRole;
  /** What the table's owner makes of it. */
  readonly meaning: string;
  /** Whether it is in the table: if not, two equal names are two of these. */
  readonly isShared: boolean;
  /** The head it was seen in last, by the number a reader gives it. */
  seenIn: number;
}

/** A name as it was written, with its colon. */
interface WrittenName {
  readonly text: string;
  readonly name: FieldName;
}

export class FieldNames {
  /**
   * What stood last at each place of a head: most heads are like the one before, and to compare a
   * name is cheaper than to cut it out and look for it.
   */
  readonly #places: WrittenName[] = [];
  readonly #written = new Map<string, WrittenName>();
  readonly #meaningOf: (lowerCase: string) => string;

  /** @param meaningOf what is to be known of a name, in lower case; the same for all spellings. */
  constructor(meaningOf: (lowerCase: string) => string = () => "") {
    this.#meaningOf = meaningOf;
  }

  /**
   * The name with which a line of a head begins, from `start` to `end`, the `place`-th line of it.
   * Undefined: no name and colon are there.
   */
  findAt(head: string, start: number, end: number, place: number): WrittenName | undefined {
    const last = this.#places[place];
    if (last !== undefined && head.startsWith(last.text, start)) return last;
    const colon = head.indexOf(":", start);
    if (colon < 0 || colon >= end) return undefined;
    const text = head.slice(start, colon);
    const written = this.#written.get(text) ?? this.#look(text);
    // Of a table that is full a name is another one each time it is seen.
    if (written?.name.isShared === true && place < maxPlaces) this.#places[place] = written;
    return written;
  }

  #look(text: string): WrittenName | undefined {
    if (!isToken(text)) return undefined;
    // A copy: a part of a head would keep all of it.
    const copy = Array.from(text).join("");
    const lowerCase = copy.toLowerCase();
    const isShared = this.#written.size < maxNames;
    // All spellings of a name are one, so that a repetition is seen whatever its spelling.
    const name: FieldName = this.#written.get(lowerCase)?.name ?? {
      lowerCase,
      role: roles.get(lowerCase) ?? "other",
      meaning: this.#meaningOf(lowerCase),
      isShared,
      seenIn: 0,
    };
    const written = { text: `${copy}:`, name };
    if (!isShared) return written;
    if (!this.#written.has(lowerCase)) {
      this.#written.set(lowerCase, { text: `${lowerCase}:`, name });
    }
    if (copy !== lowerCase) this.#written.set(copy, written);
    return written;
  }
}
