/**
 * A client's get, and the way of its answer: one object, since there is one for every get, and one
 * of the same shape whatever kind of get it is.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import type { Refusal, SessionId, WaiterId } from "../pool/types.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { PendingGet } from "./pending-get.ts";

/** Whom the answers are for: the client. */
export interface Asker {
  granted(get: ClientGet, pid: number, session: SessionId, stream: OwnedFd): void;
  refused(get: ClientGet, refusal: Refusal): void;
  recalled(get: ClientGet): void;
}

export class ClientGet implements PendingGet {
  readonly app: AppRequest;
  readonly tag: ByteString | undefined;
  readonly kept: boolean;
  readonly #asker: Asker;
  waiter: WaiterId | undefined = undefined;
  waitingSession: SessionId | undefined = undefined;
  answered = false;
  /** What the client calls its session, once it has one. */
  sessionId = -1;

  constructor(asker: Asker, app: AppRequest, tag: ByteString | undefined, kept: boolean) {
    this.#asker = asker;
    this.app = app;
    this.tag = tag;
    this.kept = kept;
  }

  granted(pid: number, session: SessionId, stream: OwnedFd): void {
    this.#asker.granted(this, pid, session, stream);
  }

  refused(refusal: Refusal): void {
    this.#asker.refused(this, refusal);
  }

  recalled(): void {
    this.#asker.recalled(this);
  }
}
