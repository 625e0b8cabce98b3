/**
 * From a client's bytes to its commands. `configure` brings a scalar with it, which the stream
 * announces by nothing but the command before it, so pulling the two apart happens here. After the
 * first wrong message nothing more is read: it comes out as `invalid` in its place, so that the
 * commands before it are carried out.
 */
import type { Command } from "../wire/commands.ts";
import { MAX_CONFIGURE_BYTES } from "../wire/configure.ts";
import { Decoder } from "../wire/decoder.ts";
import { HotCommands } from "../wire/hot-commands.ts";
import { ProtocolError } from "../wire/protocol-error.ts";

/** One command as it arrived; `bytes` is its length on the wire. */
export type Arrival =
  | {
      readonly kind: "command";
      readonly command: Command;
      readonly bytes: number;
      /** The scalar that came with `configure`. */
      readonly options?: Uint8Array;
    }
  | { readonly kind: "invalid"; readonly error: ProtocolError; readonly bytes: number };

export class CommandReader {
  readonly #decoder = new Decoder();
  readonly #commands = new HotCommands();
  readonly #read = (data: Uint8Array, first: number, end: number): Command =>
    this.#commands.read(data, first, end);
  #configure: Command | undefined;
  #broken = false;

  /** Bytes that are no whole command yet. */
  get buffered(): number {
    return this.#decoder.buffered;
  }

  push(chunk: Uint8Array): void {
    if (!this.#broken) this.#decoder.push(chunk);
  }

  /** The next command, or undefined until more arrives. */
  next(): Arrival | undefined {
    if (this.#broken) return undefined;
    const before = this.#decoder.buffered;
    try {
      if (this.#configure === undefined) {
        const command = this.#decoder.nextPayload(this.#read);
        if (command === undefined) return undefined;
        if (command.kind !== "configure") {
          return { kind: "command", command, bytes: before - this.#decoder.buffered };
        }
        this.#configure = command;
      }
      const options = this.#decoder.nextScalar(MAX_CONFIGURE_BYTES);
      if (options === undefined) return undefined;
      const command = this.#configure;
      this.#configure = undefined;
      return { kind: "command", command, options, bytes: before - this.#decoder.buffered };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#broken = true;
      this.#decoder.takeRest();
      return { kind: "invalid", error, bytes: 0 };
    }
  }
}
