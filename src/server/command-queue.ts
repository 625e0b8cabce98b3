/**
 * A client's commands that have arrived and wait for those before them: in order, and bounded (PROTOCOL section 3).
 */
import type { ByteString } from "../wire/bytes.ts";
import type { Command } from "../wire/commands.ts";
import { CommandReader, type Arrival } from "./command-reader.ts";

/** What a client may have waiting. */
const maxCommands = 1000;
const maxBytes = 256 * 1024;

export class CommandQueue {
  readonly #reader = new CommandReader();
  #waiting: Arrival[] = [];
  #bytes = 0;

  get empty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Takes bytes; `takesEffectAtOnce` is asked of each command and has carried it out if it says so. */
  receive(chunk: Uint8Array, takesEffectAtOnce: (command: Command) => boolean): void {
    this.#reader.push(chunk);
    for (let next = this.#reader.next(); next !== undefined; next = this.#reader.next()) {
      if (next.kind === "command" && takesEffectAtOnce(next.command)) continue;
      this.#waiting.push(next);
      this.#bytes += next.bytes;
    }
  }

  /** The next command to carry out. */
  shift(): Arrival | undefined {
    const next = this.#waiting.shift();
    if (next !== undefined) this.#bytes -= next.bytes;
    return next;
  }

  /** Drops the tagged get of that tag, if one waits here. */
  withdraw(tag: ByteString): void {
    const index = this.#waiting.findIndex(
      (entry) =>
        entry.kind === "command" && entry.command.kind === "getTagged" && entry.command.tag === tag,
    );
    if (index < 0) return;
    const [removed] = this.#waiting.splice(index, 1);
    this.#bytes -= removed?.bytes ?? 0;
  }

  /** Why too much waits, if it does. @param pending commands that wait elsewhere and count as well. */
  excess(pending: number): string | undefined {
    const commands = this.#waiting.length + pending;
    const bytes = this.#bytes + this.#reader.buffered;
    if (commands > maxCommands) return `more than ${maxCommands} commands wait`;
    if (bytes > maxBytes) return `${bytes} bytes of commands wait, ${maxBytes} at most`;
    return undefined;
  }

  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }
}
