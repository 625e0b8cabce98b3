/** A connection that keeps sessions, with a server and instances that the test speaks for. */
import { expect } from "bun:test";
import type { Application, PoolConnection } from "../../src/parent/index.ts";
import { encodeDecimal } from "../../src/wire/replies.ts";
import { until } from "../helpers/condition.ts";
import { rejection } from "./rejection.ts";
import { ScriptedInstance } from "./scripted-instance.ts";
import { type PeerConnection, ScriptedPeer } from "./scripted-peer.ts";

export const app = "/srv/app";
export const get = { headers: [["REQUEST_METHOD", "GET"]] as const };
export const post = { headers: [["REQUEST_METHOD", "POST"]] as const };
export const framedAnswer = "Status: 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/** As src/parent/session-lines.ts has it. */
const tickMs = 25;

/** While there is one, connections' clocks stand still but for what the test has pass. */
class SteppedClock implements Disposable {
  readonly #real = { now: performance.now.bind(performance), setInterval, clearInterval };
  readonly #ticks = new Map<object, () => void>();
  /** Whole, so that no difference of two times is a little less than was passed. */
  #nowMs = Math.ceil(performance.now());

  constructor() {
    performance.now = () => this.#nowMs;
    globalThis.setInterval = ((tick: () => void) => {
      const timer = { unref: () => {} };
      this.#ticks.set(timer, tick);
      return timer;
    }) as never;
    globalThis.clearInterval = ((timer: object) => this.#ticks.delete(timer)) as never;
  }

  pass(ms: number): void {
    for (let passedMs = 0; passedMs < ms; passedMs += tickMs) {
      this.#nowMs += tickMs;
      for (const tick of this.#ticks.values()) tick();
    }
  }

  [Symbol.dispose](): void {
    performance.now = this.#real.now;
    globalThis.setInterval = this.#real.setInterval;
    globalThis.clearInterval = this.#real.clearInterval;
  }
}

/** A connection, and the server's side of it. Time passes as the test says, however busy it is. */
export class Scene {
  readonly pool: PoolConnection;
  readonly peer: PeerConnection;
  readonly clock: SteppedClock;
  #sessions = 0;

  private constructor(pool: PoolConnection, peer: PeerConnection, clock: SteppedClock) {
    this.pool = pool;
    this.peer = peer;
    this.clock = clock;
  }

  static async with(body: (scene: Scene) => Promise<void>): Promise<void> {
    using server = await ScriptedPeer.start();
    const { pool, peer } = await server.connect();
    using clock = new SteppedClock();
    await body(new Scene(pool, peer, clock));
    pool.close();
  }

  /** Has time pass until the promise is settled. */
  async inTime<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = () => (isSettled = true);
    promise.then(settle, settle);
    await until("it comes with time", () => {
      if (!isSettled) this.clock.pass(tickMs);
      return isSettled;
    });
    return promise;
  }

  /** The server says once that its spawner is its own: kept sessions may be asked for. */
  async sayBuiltin(pid = process.pid): Promise<void> {
    await this.peer.take("getSpawnServerPid");
    this.peer.reply(encodeDecimal(pid));
  }

  /**
   * Grants the next getKept; session numbers count from 0, instances from 100.
   * @param closes how many `close` come before it.
   */
  async grant(closes = 0): Promise<ScriptedInstance> {
    for (let i = 0; i < closes; i += 1) await this.peer.take("close");
    const { tag } = await this.peer.take("getKept");
    const id = this.#sessions++;
    return ScriptedInstance.on(this.peer.grant(tag, 100 + id, id));
  }

  /** Nothing else is asked now. */
  async asksNothing(): Promise<void> {
    void rejection(this.pool.getCount());
    await this.peer.take("getCount");
  }

  /** One request from start to end on a fresh session. */
  async first(application: Application | string = app): Promise<ScriptedInstance> {
    const answer = this.pool.request(application, get);
    await this.sayBuiltin();
    const instance = await this.grant();
    await instance.next();
    await instance.write(framedAnswer);
    expect(await (await answer).text()).toBe("hi");
    return instance;
  }
}
