/**
 * Lines of the access log with fields of one's own: a format such as `{remote} "{method} {target}"
 * {status}`, or a list of fields for JSON. Both are compiled once; what they hold is escaped as in
 * the other forms. A field between quotation marks may have blanks, elsewhere it has none: so a
 * value is never taken for two.
 */
import type { RequestFields } from "../files/conditions.ts";
import type { VisitRecord } from "../worker/visit-record.ts";
import {
  commonTime,
  cut,
  type LineMaker,
  oneLineJson,
  quoted,
  tenths,
  word,
} from "./access-lines.ts";

type Value = string | number | null;
type Field = (visit: VisitRecord, headers: RequestFields, nowMs: number) => Value;

/** By their names, which are those of the JSON form; beside them there is `header:NAME`. */
const fields: Readonly<Record<string, Field>> = {
  time: (_visit, _headers, nowMs) => new Date(nowMs).toISOString(),
  commonTime: (_visit, _headers, nowMs) => commonTime(nowMs),
  remote: ({ origin }) => origin.remoteAddress,
  scheme: ({ origin }) => origin.scheme,
  host: ({ origin }) => cut(origin.host),
  method: ({ method }) => cut(method),
  target: ({ target }) => cut(target),
  path: ({ target }) => cut(target.split("?", 1)[0] ?? ""),
  status: ({ status }) => status,
  bytes: ({ bytes }) => bytes,
  ms: ({ receivedMs }) => tenths(performance.now() - receivedMs),
  queueMs: ({ queueMs }) => tenths(queueMs),
  app: ({ app }) => app?.name ?? null,
  pid: ({ pid }) => (pid === 0 ? null : pid),
  id: ({ origin }) => origin.id,
  referer: header("referer"),
  userAgent: header("user-agent"),
  failure: ({ failure }) => (failure === "" ? null : cut(failure)),
};

function header(name: string): Field {
  return (_visit, headers) => {
    const value = headers.get(name);
    return value === null ? null : cut(value);
  };
}

function fieldOf(name: string): Field {
  // RFC 9110, 5.6.2
  const [, token] = /^header:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})$/.exec(name) ?? [];
  if (token !== undefined) return header(token.toLowerCase());
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (field !== undefined) return field;
  const known = [...Object.keys(fields), "header:NAME"].join(", ");
  throw new Error(`'${name}' is no field; there are ${known}`);
}

/** A line of JSON for each request, with these fields. @throws Error: why there is none. */
export function compileFields(names: readonly string[]): LineMaker {
  const chosen = names.map((name) => [name, fieldOf(name)] as const);
  return (visit, headers, nowMs) => {
    const values: Record<string, Value> = {};
    for (const [name, field] of chosen) values[name] = field(visit, headers, nowMs);
    return oneLineJson(values);
  };
}

const ofVisit = "time remote scheme host method target status bytes ms queueMs app pid id";
const ofJson = [...ofVisit.split(" "), "referer", "userAgent"];
const usualLine = compileFields(ofJson);
const failureLine = compileFields([...ofJson, "failure"]);

/** The form `json`: what went wrong is in it only when something has. */
export const jsonLine: LineMaker = (visit, headers, nowMs) =>
  (visit.failure === "" ? usualLine : failureLine)(visit, headers, nowMs);

/** A text and fields in `{…}`; `{{` is a brace. @throws Error: why it is no format. */
export function compileFormat(format: string): LineMaker {
  if (/\p{Cc}/u.test(format)) throw new Error("a control character is in it");
  let isQuoted = false;
  const parts = Array.from(format.matchAll(/\{\{|\{([^{}]*)\}|[^{]+|\{/g), ([text, name]) => {
    if (text === "{") throw new Error("a { has no }; {{ stands for one");
    if (name === undefined) {
      // Whether it leaves a quotation open.
      if (text.split('"').length % 2 === 0) isQuoted = !isQuoted;
      return text === "{{" ? "{" : text;
    }
    const field = fieldOf(name);
    // What no visitor has said may have its blank.
    const escape = name === "commonTime" ? String : isQuoted ? quoted : word;
    return (...visit: Parameters<Field>): string => {
      const value = field(...visit);
      if (value === null || value === "") return "-";
      return typeof value === "string" ? escape(value) : String(value);
    };
  });
  return (...visit) =>
    `${parts.map((part) => (typeof part === "string" ? part : part(...visit))).join("")}\n`;
}
