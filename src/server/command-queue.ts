/**
 * A client's commands that have arrived and wait for those before them: in order, and bounded
 * (PROTOCOL section 3).
 */
import type { ByteString } from "../wire/bytes.ts";
import type { TaggedGet } from "../wire/commands.ts";
import { MAX_REGISTER_BYTES } from "../wire/register.ts";
import { CommandReader, type Arrival } from "./command-reader.ts";
import type { Rights } from "./rights.ts";

/** What a client may have waiting. */
const maxCommands = 1000;
const maxBytes = 256 * 1024;
/** The supervisor too, beside one registration that has not come in full. */
const maxSupervisorBytes = maxBytes + MAX_REGISTER_BYTES;

/** A command that waits, and its length on the wire. */
interface Waiting {
  readonly command: Arrival;
  readonly bytes: number;
}

export class CommandQueue {
  readonly #reader: CommandReader;
  readonly #maxBytes: number;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #takesGets = true;

  constructor(rights: Rights) {
    this.#reader = new CommandReader(rights);
    this.#maxBytes = rights === "supervisor" ? maxSupervisorBytes : maxBytes;
  }

  /** Takes bytes. They are borrowed until `next` or `hold` has taken what is in them. */
  receive(chunk: Uint8Array): void {
    this.#reader.push(chunk);
  }

  /** Whether anything is left, be it the part of a command. */
  get hasMore(): boolean {
    return this.#waiting.length + this.#reader.buffered > 0;
  }

  /** The next command to carry out. */
  next(): Arrival | undefined {
    if (this.#waiting.length === 0) return this.#read();
    const next = this.#waiting.shift();
    this.#bytes -= next?.bytes ?? 0;
    return next?.command;
  }

  /**
   * A command is under way and takes its time: keeps those behind it. `overtakes` is asked of each,
   * and has carried it out if it says so.
   */
  hold(overtakes: (command: Arrival) => boolean): void {
    const held = this.#waiting;
    this.clear();
    for (const { command, bytes } of held) this.#holdOne(command, bytes, overtakes);
    for (;;) {
      const before = this.#reader.buffered;
      const command = this.#read();
      if (command === undefined) return;
      // What follows a wrong message is dropped: it does not wait.
      const bytes = command.kind === "invalid" ? 0 : before - this.#reader.buffered;
      this.#holdOne(command, bytes, overtakes);
    }
  }

  /** From now on gets that arrive are dropped; those that wait here are not. */
  takeNoGets(): void {
    this.#takesGets = false;
  }

  #read(): Arrival | undefined {
    let command = this.#reader.next();
    while (!this.#takesGets && command !== undefined && isGet(command)) {
      command = this.#reader.next();
    }
    return command;
  }

  #holdOne(command: Arrival, bytes: number, overtakes: (command: Arrival) => boolean): void {
    if (overtakes(command)) return;
    this.#waiting.push({ command, bytes });
    this.#bytes += bytes;
  }

  /** Drops the get of that tag, if one waits here. */
  withdraw(tag: ByteString): void {
    const index = this.#waiting.findIndex(
      ({ command }) => isTagged(command) && command.tag === tag,
    );
    if (index < 0) return;
    const [removed] = this.#waiting.splice(index, 1);
    this.#bytes -= removed?.bytes ?? 0;
  }

  /** Why too much waits, if it does. @param pending commands that wait elsewhere and count, too. */
  excess(pending: number): string | undefined {
    const commands = this.#waiting.length + pending;
    const bytes = this.#bytes + this.#reader.buffered;
    if (commands > maxCommands) return `more than ${maxCommands} commands wait`;
    const most = this.#maxBytes;
    if (bytes > most) return `${bytes} bytes of commands wait, ${most} at most`;
    return undefined;
  }

  clear(): void {
    this.#waiting = [];
    this.#bytes = 0;
  }
}

function isGet(command: Arrival): boolean {
  return command.kind === "get" || isTagged(command);
}

function isTagged(command: Arrival): command is TaggedGet {
  return "tag" in command && "app" in command;
}
