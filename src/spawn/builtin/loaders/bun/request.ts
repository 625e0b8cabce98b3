/** The head of a session as what a Request is made of. Runs inside instances. */
import { BadRequest, type Head, unknownMethod } from "../javascript/head.ts";

/** An object: a Request is made faster of it than of Headers. No header is called `__proto__`. */
export function headersOf({ headers: flat }: Head): Headers | Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index] ?? "";
    if (headers[name] !== undefined) return joined(flat);
    headers[name] = flat[index + 1] ?? "";
  }
  return headers;
}

/** With what is repeated. */
function joined(flat: Head["headers"]): Headers {
  const headers = new Headers();
  for (let index = 0; index < flat.length; index += 2) {
    headers.append(flat[index] ?? "", flat[index + 1] ?? "");
  }
  return headers;
}

/**
 * The whole URL, with what the front end tells of scheme and host; as sent, for who makes a Request
 * reads it anyway. @throws BadRequest.
 */
export function urlOf(head: Head): string {
  const { isSecure, target } = head;
  if (!target.startsWith("/")) return withoutUser(target);
  return `${isSecure ? "https" : "http"}://${hostOf(head)}${target}`;
}

/** RFC 9110, 7.2: a host and perhaps a port; anything else would become part of the path. */
const hostForm = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:[\]]+)(?::[0-9]*)?$/;

function hostOf({ host, serverName, serverPort: port, isSecure }: Head): string {
  if (host !== "" && !hostForm.test(host)) throw new BadRequest("the host is not one of HTTP");
  if (host !== "") return host;
  if (serverName === "") return "localhost";
  const isUsual = port === "" || port === (isSecure ? "443" : "80");
  return isUsual ? serverName : `${serverName}:${port}`;
}

function withoutUser(text: string): string {
  const url = URL.parse(text);
  if (url === null) throw noUrl();
  if (url.username !== "" || url.password !== "") throw new BadRequest("the host has a user name");
  return text;
}

/** Why no Request can be made of what has come. */
export function requestError(method: string, url: string): BadRequest {
  return URL.canParse(url) ? unknownMethod(method) : noUrl();
}

function noUrl(): BadRequest {
  return new BadRequest("the host or the request target is not one of HTTP");
}
