/**
 * Connects granted sessions to their instances. Usually that is one call; the rest is what can
 * stand in the way:
 * - a full backlog (EAGAIN): another instance if the pool has one, else again every 10 ms for at
 *   most 30 s;
 * - no free descriptor (EMFILE): the spare one serves, since it is ours for a moment only; else as
 *   a full backlog;
 * - anything else: the instance is not what it was, and the pool decides anew.
 */
import type { OwnedFd } from "../native/owned-fd.ts";
import type { InstanceId, SessionId } from "../pool/types.ts";
import type { Instance } from "../spawn/spawner.ts";
import { causeText } from "../wire/cause.ts";
import type { ClientGet } from "./client-get.ts";
import { isDescriptorShortage, SpareDescriptor } from "./spare-descriptor.ts";

/** A full backlog is tried again this often, for this long (PROTOCOL section 6). */
const retryMs = 10;
const limitMs = 30_000;

interface ConnectorEvents {
  instance(id: InstanceId): Instance | undefined;
  /** Moves a session to an instance it has not tried. */
  alternative(session: SessionId): InstanceId | undefined;
  /** The stream belongs to the callee. */
  connected(
    get: ClientGet,
    session: SessionId,
    instance: Instance,
    id: InstanceId,
    stream: OwnedFd,
  ): void;
  failed(get: ClientGet, session: SessionId, pid: number, cause: string): void;
  gaveUp(get: ClientGet, session: SessionId, cause: string): void;
}

export class Connector {
  readonly #events: ConnectorEvents;
  readonly #spare = new SpareDescriptor();
  #closed = false;

  constructor(events: ConnectorEvents) {
    this.#events = events;
  }

  close(): void {
    this.#closed = true;
    this.#spare.close();
  }

  /** @param until when to give up; absent: this is the first attempt. */
  connect(get: ClientGet, session: SessionId, id: InstanceId, until?: number): void {
    get.waitingSession = undefined;
    for (let chosen = id; ;) {
      const instance = this.#events.instance(chosen);
      if (instance === undefined) return this.#events.failed(get, session, 0, "it is gone");
      let stream: OwnedFd | "full" | "no descriptor";
      try {
        stream = this.#open(instance);
      } catch (error) {
        return this.#events.failed(get, session, instance.pid, causeText(error));
      }
      if (typeof stream !== "string") {
        this.#events.connected(get, session, instance, chosen, stream);
        this.#spare.restore();
        return;
      }
      const other = stream === "full" ? this.#events.alternative(session) : undefined;
      if (other === undefined) {
        return this.#wait(get, session, chosen, until ?? performance.now() + limitMs, stream);
      }
      chosen = other;
    }
  }

  #open(instance: Instance): OwnedFd | "full" | "no descriptor" {
    try {
      return instance.connect();
    } catch (error) {
      if (!isDescriptorShortage(error)) throw error;
    }
    if (!this.#spare.lend()) return "no descriptor";
    try {
      return instance.connect();
    } catch (error) {
      this.#spare.restore();
      if (isDescriptorShortage(error)) return "no descriptor";
      throw error;
    }
  }

  #wait(get: ClientGet, session: SessionId, id: InstanceId, until: number, what: string): void {
    get.waitingSession = session;
    setTimeout(() => {
      if (get.answered || this.#closed) return;
      if (performance.now() < until) {
        this.connect(get, session, id, until);
        return;
      }
      get.waitingSession = undefined;
      const cause =
        what === "full" ? "EAGAIN, its backlog is full" : "EMFILE, no descriptor is free";
      this.#events.gaveUp(get, session, cause);
    }, retryMs);
  }
}
