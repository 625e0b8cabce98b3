/**
 * A client's commands that have arrived and wait for those before them: in order, and bounded
 * (PROTOCOL section 3).
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

  /** Takes bytes. They are borrowed until `next` or `hold` has taken what is in them. */
  receive(chunk: Uint8Array): void {
    this.#reader.push(chunk);
  }

  /** The next command to carry out. */
  next(): Arrival | undefined {
    const next = this.#waiting.shift();
    if (next === undefined) return this.#reader.next();
    this.#bytes -= next.bytes;
    return next;
  }

  /**
   * A command is under way and takes its time: keeps those behind it. `overtakes` is asked of each,
   * and has carried it out if it says so.
   */
  hold(overtakes: (command: Command) => boolean): void {
    const held = this.#waiting;
    this.clear();
    for (const entry of held) this.#holdOne(entry, overtakes);
    for (let next = this.#reader.next(); next !== undefined; next = this.#reader.next()) {
      this.#holdOne(next, overtakes);
    }
  }

  #holdOne(entry: Arrival, overtakes: (command: Command) => boolean): void {
    if (entry.kind === "command" && overtakes(entry.command)) return;
    this.#waiting.push(entry);
    this.#bytes += entry.bytes;
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

  /**
   * Why too much waits, if it does. @param pending commands that wait elsewhere and count as well.
   */
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
