/**
 * Names of headers, known by how they were written: a name is looked at once, then found again by
 * one look into a map. What visitors write is theirs to choose, so the map is bounded; a name that
 * finds no room in it is looked at each time it comes.
 */

/** What a header means to a connection or a message; `other`: nothing to us. */
export type FieldRole =
  | "host"
  | "content-length"
  | "transfer-encoding"
  | "connection"
  | "upgrade"
  | "expect"
  | "date"
  | "status"
  | "location"
  /** It belongs to a connection (RFC 9110, 7.6.1), and ends with it. */
  | "hop-by-hop"
  | "other";

const roles: Readonly<Record<string, FieldRole>> = {
  host: "host",
  "content-length": "content-length",
  "transfer-encoding": "transfer-encoding",
  connection: "connection",
  upgrade: "upgrade",
  expect: "expect",
  date: "date",
  status: "status",
  location: "location",
  "keep-alive": "hop-by-hop",
  "proxy-authenticate": "hop-by-hop",
  "proxy-authorization": "hop-by-hop",
  "proxy-connection": "hop-by-hop",
  te: "hop-by-hop",
  trailer: "hop-by-hop",
};

/** RFC 9110, 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export function isToken(text: string): boolean {
  return token.test(text);
}

/** Of the names that browsers, proxies and tools write, in all their spellings, there are fewer. */
const maxNames = 1000;

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

export class FieldNames {
  readonly #byText = new Map<string, FieldName>();
  readonly #meaningOf: (lowerCase: string) => string;

  /** @param meaningOf what is to be known of a name, in lower case; the same for all spellings. */
  constructor(meaningOf: (lowerCase: string) => string = () => "") {
    this.#meaningOf = meaningOf;
  }

  /** Undefined: it is no name. */
  find(text: string): FieldName | undefined {
    return this.#byText.get(text) ?? this.#look(text);
  }

  #look(text: string): FieldName | undefined {
    if (!isToken(text)) return undefined;
    const lowerCase = text.toLowerCase();
    const same = this.#byText.get(lowerCase);
    const isShared = this.#byText.size < maxNames;
    const made: FieldName = same ?? {
      lowerCase,
      role: Object.hasOwn(roles, lowerCase) ? (roles[lowerCase] ?? "other") : "other",
      meaning: this.#meaningOf(lowerCase),
      isShared,
      seenIn: 0,
    };
    if (!isShared) return made;
    // All spellings of a name are one, so that a repetition is seen whatever its spelling.
    this.#byText.set(lowerCase, made);
    this.#byText.set(text, made);
    return made;
  }
}
