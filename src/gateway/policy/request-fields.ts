/**
 * What becomes of a request's headers on their way to an application: the variable each is said in
 * (RFC 3875, 4.1.18), or nothing. Dropped are those of the connection, those a visitor could use to
 * pass for a proxy, and those the gateway says itself.
 */
import { FieldNames } from "../../wire/field-names.ts";
import type { Fields } from "../../http/request-head.ts";
import type { RequestFields } from "../files/conditions.ts";
import { hasVariable, variableName } from "../../wire/cgi.ts";

/**
 * What frameworks believe about proxies, from whomever it comes; the last two let a visitor choose
 * how files are sent (Rack::Sendfile).
 */
const proxyNames = (
  "forwarded forwarded-for x-forwarded x-forwarded-port x-forwarded-protocol x-forwarded-ssl " +
  "x-forwarded-scheme x-forwarded-server x-forwarded-prefix front-end-https x-url-scheme " +
  "x-original-url x-rewrite-url x-sendfile-type x-accel-mapping"
).split(" ");

/** Said by the gateway, as it knows them, or where they have a meaning to the session. */
const ownNames = (
  "content-length transfer-encoding x-forwarded-for x-forwarded-proto x-forwarded-host " +
  "x-request-id"
).split(" ");

/** Those of the connection (RFC 9110, 7.6.1). */
const connectionNames = (
  "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer " +
  "upgrade expect"
).split(" ");

/** Other names for the visitor's address: as a trusted proxy has set them, or not at all. */
const addressNames = new Set(
  (
    "x-real-ip client-ip x-client-ip true-client-ip x-cluster-client-ip cf-connecting-ip " +
    "fastly-client-ip"
  ).split(" "),
);

const dropped = new Set([...proxyNames, ...ownNames, ...connectionNames]);

/** Before the variable of a header that only a trusted proxy may send. */
export const ofProxies = "?";

/** One table for the worker; the meaning of a name is its variable, or empty. */
export const requestNames = new FieldNames((lowerCase) => {
  if (dropped.has(lowerCase) || !hasVariable(lowerCase)) return "";
  const variable = variableName(lowerCase);
  return addressNames.has(lowerCase) ? ofProxies + variable : variable;
});

/** Of these the first is meant where there are several, as Node has it; others are joined. */
const single = new Set(
  (
    "age authorization content-type etag expires from if-modified-since if-unmodified-since " +
    "last-modified location max-forwards referer retry-after server user-agent"
  ).split(" "),
);

/** Reads headers by name. */
export class HeadFields implements RequestFields {
  readonly #fields: Pick<Fields, "names" | "values">;

  constructor(fields: Pick<Fields, "names" | "values">) {
    this.#fields = fields;
  }

  /** The value, of several what an application sees. @param lowerCase the name. */
  get(lowerCase: string): string | null {
    const { names, values } = this.#fields;
    let found: string | null = null;
    // No iterator: most requests are asked for a name or two, and those who serve many feel it.
    for (let index = 0; index < names.length; index += 1) {
      if (names[index]?.lowerCase !== lowerCase) continue;
      const value = values[index] ?? "";
      if (found === null) found = value;
      else if (!single.has(lowerCase)) found += `${separatorOf(lowerCase)}${value}`;
    }
    return found;
  }
}

/** RFC 9110, 5.3; RFC 9113, 8.2.3. */
function separatorOf(lowerCase: string): string {
  return lowerCase === "cookie" ? "; " : ", ";
}
