/**
 * A client's get: one object, since there is one for every get, and one of the same shape whatever
 * kind of get it is.
 *
 * The driver calls exactly one of its client's `granted` and `refused`, once, unless the get is
 * cancelled. If the session may be kept, `recalled` may be called once, after `granted`.
 */
import type { GetRefusal, SessionId, WaiterId } from "../pool/types.ts";
import type { AppRequest } from "../wire/app-request.ts";
import type { Instance } from "../spawn/spawner.ts";
import { fromText, type ByteString } from "../wire/bytes.ts";
import type { TaggedGet } from "../wire/commands.ts";
import { encodeRefusal, spawnExceptionParts } from "../wire/replies.ts";
import type { Client } from "./client.ts";

/** What a client is told of the instance that serves it. */
export type Grantor = Pick<Instance, "pid" | "speaksHttp">;

/** The answer to a get for what is not registered: who asks may try again later. */
export const notRegistered: GetRefusal = { kind: "busy", why: "there is no such application now" };

/** The answer to a client that would send a head in CGI form to a program. */
export const onlyHttp: GetRefusal = {
  kind: "cannotConnect",
  cause: "its sessions are plain HTTP/1.1, which only tagged gets take",
};

export class ClientGet {
  /** Whom the answer is for. */
  readonly client: Client;
  readonly app: AppRequest;
  readonly tag: ByteString | undefined;
  /** Whether the session may be kept. */
  readonly kept: boolean;
  /** What the client calls the instance that it would go on with; undefined: any will do. */
  readonly token: ByteString | undefined;
  /** These are the driver's to write. */
  waiter: WaiterId | undefined = undefined;
  /** While its instance has no room for it. */
  waitingSession: SessionId | undefined = undefined;
  /** Or withdrawn. */
  answered = false;
  /** Its session is wanted back, of which its client has yet to be told. */
  isRecallDue = false;
  /** What its instance is called, if it has a token. */
  key: ByteString | undefined = undefined;
  /** What the client calls its session, once it has one. */
  sessionId = -1;

  /** @param command undefined: it is an untagged get. */
  constructor(client: Client, app: AppRequest, command: TaggedGet | undefined) {
    this.client = client;
    this.app = app;
    this.tag = command?.tag;
    this.kept = command !== undefined && command.kind !== "getTagged";
    this.token = command?.kind === "getSticky" ? command.token : undefined;
  }
}

/** The reply to a get that was refused (PROTOCOL section 3), in parts; tagged if the get was. */
export function encodeRefused({ app, tag }: ClientGet, refusal: GetRefusal): Uint8Array[] {
  const { root } = app;
  switch (refusal.kind) {
    case "spawnFailed": {
      const { message, page } = refusal.failure;
      const text = `Cannot spawn application '${root}${fromText(`': ${message}`)}`;
      return spawnExceptionParts(text as ByteString, page, tag);
    }
    case "busy": {
      const message = fromText(`The application pool is too busy: ${refusal.why}`);
      return [encodeRefusal("BusyException", message, tag)];
    }
    case "cannotConnect": {
      const cause = fromText(`': ${refusal.cause}`);
      const message = `Cannot connect to an existing application instance for '${root}${cause}`;
      return [encodeRefusal("IOException", message as ByteString, tag)];
    }
  }
}
