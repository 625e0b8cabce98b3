/**
 * A client's get, and the way of its answer: one object, since there is one for every get, and one
 * of the same shape whatever kind of get it is.
 *
 * The driver calls exactly one of `granted` and `refused`, once, unless the get is cancelled.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import type { GetRefusal, SessionId, WaiterId } from "../pool/types.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { Instance } from "../spawn/spawner.ts";
import type { ByteString } from "../wire/bytes.ts";
import type { TaggedGet } from "../wire/commands.ts";

/** What a client is told of the instance that serves it. */
export type Grantor = Pick<Instance, "pid" | "speaksHttp">;

/** Whom the answers are for: the client. */
interface GetOwner {
  granted(get: ClientGet, by: Grantor, session: SessionId, stream: OwnedFd): void;
  refused(get: ClientGet, refusal: GetRefusal): void;
  recalled(get: ClientGet): void;
}

/** The answer to a get for what is not registered: who asks may try again later. */
export const notRegistered: GetRefusal = { kind: "busy", why: "there is no such application now" };

/** The answer to a client that would send a head in CGI form to a program. */
export const onlyHttp: GetRefusal = {
  kind: "cannotConnect",
  cause: "its sessions are plain HTTP/1.1, which only tagged gets take",
};

export class ClientGet {
  readonly app: AppRequest;
  readonly tag: ByteString | undefined;
  /** Whether the session may be kept: then `recalled` may be called once, after `granted`. */
  readonly kept: boolean;
  /** What the client calls the instance that it would go on with; undefined: any will do. */
  readonly token: ByteString | undefined;
  readonly #owner: GetOwner;
  /** These are the driver's to write. */
  waiter: WaiterId | undefined = undefined;
  /** While its instance has no room for it. */
  waitingSession: SessionId | undefined = undefined;
  /** Or withdrawn. */
  answered = false;
  /** What its instance is called, if it has a token. */
  key: ByteString | undefined = undefined;
  /** What the client calls its session, once it has one. */
  sessionId = -1;

  /** @param command undefined: it is an untagged get. */
  constructor(owner: GetOwner, app: AppRequest, command: TaggedGet | undefined) {
    this.#owner = owner;
    this.app = app;
    this.tag = command?.tag;
    this.kept = command !== undefined && command.kind !== "getTagged";
    this.token = command?.kind === "getSticky" ? command.token : undefined;
  }

  /** A session began; `stream` is the owner's from here on. */
  granted(by: Grantor, session: SessionId, stream: OwnedFd): void {
    this.#owner.granted(this, by, session, stream);
  }

  refused(refusal: GetRefusal): void {
    this.#owner.refused(this, refusal);
  }

  /** The session is wanted back: it is to be closed, or kept for the request at hand. */
  recalled(): void {
    this.#owner.recalled(this);
  }
}
