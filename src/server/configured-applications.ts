/**
 * What `configure` said of each application, bounded against a client that invents names or values.
 */
import type { ByteString } from "../wire/bytes.ts";
import { ConfigureError, type InstanceOptions } from "../wire/configure.ts";

/** What may be configured at once. */
const maxApplications = 10_000;
const maxBytes = 16 * 1024 * 1024;

export class ConfiguredApplications {
  readonly #applications = new Map<ByteString, { options: InstanceOptions; bytes: number }>();
  #bytes = 0;

  of(root: ByteString): InstanceOptions | undefined {
    return this.#applications.get(root)?.options;
  }

  /** No options clear what was said before. @throws ConfigureError when there are too many. */
  set(root: ByteString, options: InstanceOptions): void {
    const isCleared = Object.keys(options).length === 0;
    const bytes = isCleared ? 0 : root.length + JSON.stringify(options).length;
    const total = this.#bytes - (this.#applications.get(root)?.bytes ?? 0) + bytes;
    if (isCleared) {
      this.#applications.delete(root);
    } else {
      if (this.#applications.size >= maxApplications && !this.#applications.has(root)) {
        throw new ConfigureError(
          `configure: ${maxApplications} applications are configured already`,
        );
      }
      if (total > maxBytes) {
        throw new ConfigureError(`configure: options exceed ${maxBytes} bytes in all`);
      }
      this.#applications.set(root, { options, bytes });
    }
    this.#bytes = total;
  }
}
