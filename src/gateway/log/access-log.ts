/** The access log: which form its lines have, and where they go. */
import { commonLine, type LineMaker } from "./access-lines.ts";
import { BufferedLog } from "../../native/buffered-log.ts";
import { compileFields, compileFormat, jsonLine } from "./access-format.ts";
import type { AccessForm, GatewayConfig } from "../config.ts";
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
    const lineOf = lineMaker(config.accessLog);
    if (lineOf === undefined) return undefined;
    return new AccessLog(lineOf, config.accessLogFile === undefined ? undefined : openFile);
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

/** @returns undefined: there is to be no log. @throws Error: why the form is none. */
export function lineMaker(form: AccessForm): LineMaker | undefined {
  if (typeof form === "object") {
    return "format" in form ? compileFormat(form.format) : compileFields(form.fields);
  }
  return form === "off" ? undefined : form === "json" ? jsonLine : commonLine;
}
