/**
 * The handlers of a program that Bun's own server calls: they get requests that tell whose they
 * are, and it is known when none of them is under way. Runs inside instances.
 */
import { takeClient } from "./clients.ts";

export class Handlers {
  #underWay = 0;
  #waiting: (() => void)[] = [];

  /** Calls `then` once no handler is under way; now, if none is. */
  whenSettled(then: () => void): void {
    if (this.#underWay === 0) then();
    else this.#waiting.push(then);
  }

  /** The same handler, or table of handlers. */
  wrap(given: unknown): unknown {
    if (typeof given === "function") return this.#wrapped(given);
    const isTable = given !== null && Object.getPrototypeOf(given) === Object.prototype;
    if (!isTable) return given;
    const entries = Object.entries(given as object);
    return Object.fromEntries(entries.map(([name, value]) => [name, this.wrap(value)]));
  }

  #wrapped(handler: Function): unknown {
    const begin = (): void => {
      this.#underWay += 1;
    };
    const end = (): void => {
      this.#underWay -= 1;
      if (this.#underWay === 0) for (const then of this.#waiting.splice(0)) then();
    };
    return function (this: unknown, request: Request, ...more: unknown[]): unknown {
      takeClient(request);
      begin();
      let answer: unknown;
      try {
        answer = handler.call(this, request, ...more);
      } finally {
        if (answer instanceof Promise) void answer.then(end, end);
        else end();
      }
      return answer;
    };
  }
}
