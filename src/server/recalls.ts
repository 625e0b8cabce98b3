/**
 * Kept sessions and when their clients are asked for them: not before a client knows of its
 * session. The pool may want one back while its instance is still being connected to.
 */
import type { SessionId } from "../pool/types.ts";

/** Whoever has the session. */
interface Keeper {
  recalled(): void;
}

/** A kept session, or one that will be if its instance can be connected to. */
interface KeptSession {
  readonly keeper: Keeper;
  isGranted: boolean;
  /** It was recalled before it was granted. */
  isRecallDue: boolean;
}

export class Recalls {
  readonly #kept = new Map<SessionId, KeptSession>();

  begin(session: SessionId, keeper: Keeper): void {
    this.#kept.set(session, { keeper, isGranted: false, isRecallDue: false });
  }

  /** The keeper has been told of the session. It may have ended it by now. */
  granted(session: SessionId): void {
    const kept = this.#kept.get(session);
    if (kept === undefined) return;
    kept.isGranted = true;
    if (kept.isRecallDue) kept.keeper.recalled();
  }

  /** The session is wanted back. It may have been closed meanwhile, or not be kept. */
  recall(session: SessionId): void {
    const kept = this.#kept.get(session);
    if (kept === undefined) return;
    if (kept.isGranted) kept.keeper.recalled();
    else kept.isRecallDue = true;
  }

  end(session: SessionId): void {
    if (this.#kept.size > 0) this.#kept.delete(session);
  }

  clear(): void {
    this.#kept.clear();
  }
}
