/** Types of session.cjs, for the loader that is TypeScript. */
import type { Head } from "./head.ts";
import type { Host } from "./host.ts";

export interface InstanceStream {
  write(data: string | Uint8Array): unknown;
  pause(): void;
  resume(): void;
  end(): void;
  shutdown(): void;
  destroy(): void;
}

export type SessionState = "head" | "waiting" | "answering" | "changed" | "closing" | "closed";

export abstract class InstanceSession<C extends InstanceStream = InstanceStream> {
  constructor(connection: C, host: Host);
  protected readonly connection: C;
  protected readonly host: Host;
  protected readonly state: SessionState;
  protected readonly head: Head | undefined;
  protected readonly body: { readonly isToTheEnd: boolean } | undefined;
  protected readonly isBodyWhole: boolean;
  protected hasClientEnded: boolean;
  protected ahead: Buffer;

  protected abstract begin(head: Head): void;
  protected abstract deliver(bytes: Uint8Array): void;
  protected abstract endBody(): void;
  protected abstract abort(error: Error): void;
  protected abstract gone(wasAnswering: boolean): boolean;

  protected readonly isInChunks: boolean;
  /** Bytes of the body as they go on to a parser of HTTP; none: its end. */
  protected framed(bytes: Uint8Array): Uint8Array;
  protected takeWholeBody(): Buffer | undefined;
  /** What the head of the answer, made now, has to say of the session's end; "" or a line. */
  lastLine(ends?: boolean): string;
  protected answered(isFramed: boolean): void;
  protected change(): void;
  protected over(): void;

  data(chunk: Buffer): void;
  end(): void;
  closed(): void;
}
