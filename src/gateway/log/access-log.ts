/** The access log: which form its lines have, and where they go. */
import { commonLine, type LineMaker } from "./access-lines.ts";
import { BufferedLog } from "../../native/buffered-log.ts";
import { compileFields, compileFormat, jsonLine } from "./access-format.ts";
import type { AccessForm, GatewayConfig } from "../config.ts";
import type { RequestFields } from "../files/conditions.ts";
import type { VisitRecord } from "../worker/visit-record.ts";

interface AccessLog {
  readonly record: (visit: VisitRecord, headers: RequestFields) => void;
  readonly log: BufferedLog;
}

/**
 * @param openFile the file of the configuration, now and anew. @returns undefined if there is to
 * be no log. @throws Error of `openFile`.
 */
export function openAccessLog(
  { accessLog, accessLogFile }: GatewayConfig,
  openFile: () => number,
): AccessLog | undefined {
  const lineOf = lineMaker(accessLog);
  if (lineOf === undefined) return undefined;
  const log = new BufferedLog("requests", accessLogFile === undefined ? undefined : openFile);
  return { log, record: (visit, headers) => log.write(lineOf(visit, headers, Date.now())) };
}

/** @returns undefined: there is to be no log. @throws Error: why the form is none. */
export function lineMaker(form: AccessForm): LineMaker | undefined {
  if (typeof form === "object") {
    return "format" in form ? compileFormat(form.format) : compileFields(form.fields);
  }
  return form === "off" ? undefined : form === "json" ? jsonLine : commonLine;
}
