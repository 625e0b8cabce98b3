/** Types of head.cjs, for the loader that is TypeScript. */
export class BadRequest extends Error {
  /** Number and reason. */
  readonly status: string;
  constructor(message: string, status?: string);
}

export function unknownMethod(method: string): BadRequest;

export interface Head {
  readonly method: string;
  readonly serverName: string;
  readonly serverPort: string;
  readonly remoteAddress: string;
  readonly remotePort: string;
  readonly host: string;
  /** Name, value, name, value: what the application is to see, in lower case. */
  readonly headers: readonly string[];
  /** How many bytes of body come; undefined: it does not say. */
  readonly contentLength: number | undefined;
  /** Whether another request may follow on the session. */
  readonly isKept: boolean;
  /** The protocol that is asked for; empty: none. */
  readonly upgrade: string;
  readonly isSecure: boolean;
  readonly target: string;
}

/** @throws BadRequest. */
export function httpHead(head: Head, hasChunks: boolean, more?: string): string;
