/**
 * From a client's bytes to its commands. `configure` brings a scalar with it, which the stream
 * announces by nothing but the command before it, so pulling the two apart happens here. After the
 * first wrong message nothing more is read: it comes out as `invalid` in its place, so that the
 * commands before it are carried out.
 */
import type { ByteString } from "../wire/bytes.ts";
import type { Command } from "../wire/commands.ts";
import { MAX_CONFIGURE_BYTES } from "../wire/configure.ts";
import { Decoder } from "../wire/decoder.ts";
import { HotCommands } from "../wire/hot-commands.ts";
import { ProtocolError } from "../wire/protocol-error.ts";

/**
 * A command as it arrived: `configure` together with its scalar, and in place of a wrong message
 * why it is wrong.
 */
export type Arrival =
  | Exclude<Command, { kind: "configure" }>
  | { readonly kind: "configure"; readonly root: ByteString; readonly options: Uint8Array }
  | { readonly kind: "invalid"; readonly error: ProtocolError };

export class CommandReader {
  readonly #decoder = new Decoder();
  readonly #commands = new HotCommands();
  readonly #read = (data: Uint8Array, first: number, end: number): Command =>
    this.#commands.read(data, first, end);
  /** The application of a `configure` whose scalar is still to come. */
  #configure: ByteString | undefined;
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
    try {
      if (this.#configure === undefined) {
        const command = this.#decoder.nextPayload(this.#read);
        if (command?.kind !== "configure") return command;
        this.#configure = command.root;
      }
      const options = this.#decoder.nextScalar(MAX_CONFIGURE_BYTES);
      if (options === undefined) return undefined;
      const root = this.#configure;
      this.#configure = undefined;
      return { kind: "configure", root, options };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#broken = true;
      this.#decoder.takeRest();
      return { kind: "invalid", error };
    }
  }
}
