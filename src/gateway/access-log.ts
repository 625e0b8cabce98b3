/** The access log: which form its lines have, and where they go. */
import { commonLine, jsonLine, type LineMaker } from "./access-lines.ts";
import { BufferedLog } from "./buffered-log.ts";
import type { GatewayConfig } from "./config.ts";
import type { RequestFields } from "./conditions.ts";
import type { VisitRecord } from "./visit-record.ts";

export class AccessLog {
  readonly #lineOf: LineMaker;
  readonly #log: BufferedLog;

  private constructor(lineOf: LineMaker, path: string | undefined) {
    this.#lineOf = lineOf;
    this.#log = new BufferedLog(path);
  }

  /** @returns undefined if there is to be none. @throws Error when the file cannot be opened. */
  static open(config: GatewayConfig): AccessLog | undefined {
    switch (config.accessLog) {
      case "common":
        return new AccessLog(commonLine, config.accessLogFile);
      case "json":
        return new AccessLog(jsonLine, config.accessLogFile);
      case "off":
        return undefined;
    }
  }

  readonly record = (visit: VisitRecord, headers: RequestFields): void => {
    this.#log.write(this.#lineOf(visit, headers, Date.now()));
  };

  /** @throws Error when the file cannot be opened anew: the old one stays in use. */
  reopen(): void {
    this.#log.reopen();
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}
