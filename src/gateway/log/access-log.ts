/** The access log: which form its lines have, and where they go. */
import { commonLine, jsonLine, type LineMaker } from "./access-lines.ts";
import { BufferedLog } from "../../native/buffered-log.ts";
import type { GatewayConfig } from "../config.ts";
import type { RequestFields } from "../files/conditions.ts";
import type { VisitRecord } from "../worker/visit-record.ts";

export class AccessLog {
  readonly #lineOf: LineMaker;
  readonly #log: BufferedLog;

  private constructor(lineOf: LineMaker, open: (() => number) | undefined) {
    this.#lineOf = lineOf;
    this.#log = new BufferedLog("requests", open);
  }

  /**
   * @param openFile the file of the configuration, now and anew. @returns undefined if there is to
   * be no log. @throws Error of `openFile`.
   */
  static open(config: GatewayConfig, openFile: () => number): AccessLog | undefined {
    const open = config.accessLogFile === undefined ? undefined : openFile;
    switch (config.accessLog) {
      case "common":
        return new AccessLog(commonLine, open);
      case "json":
        return new AccessLog(jsonLine, open);
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
