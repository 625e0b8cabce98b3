/** A get on its way to an answer: what the driver and whoever asks know of each other. */
import type { OwnedFd } from "../native/owned-fd.ts";
import type { Refusal, SessionId, WaiterId } from "../pool/types.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { Connecting } from "./connector.ts";

/**
 * A get, made by whoever asks: exactly one of `granted` and `refused` is called, once, unless it is
 * cancelled. `answered`, `waiter` and `waitingSession` are the driver's to write.
 */
export interface PendingGet extends Connecting {
  readonly app: AppRequest;
  /** Whether the session may be kept: then `recalled` may be called once, after `granted`. */
  readonly kept: boolean;
  waiter: WaiterId | undefined;
  /** A session began; `stream` is the callee's from here on. */
  granted(pid: number, session: SessionId, stream: OwnedFd): void;
  refused(refusal: Refusal): void;
  /** The session is wanted back: `closeSession` or `keepSession` is due. */
  recalled(): void;
}

/** The answer to a get for what is not registered: who asks may try again later. */
export const notRegistered: Refusal = { kind: "busy", why: "there is no such application now" };
