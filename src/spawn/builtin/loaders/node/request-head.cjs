/**
 * The head of a session (PROTOCOL section 5) as what Node's IncomingMessage is made of. Runs inside
 * instances. Strings are bytes (0-255), as everywhere in Node's HTTP.
 */
"use strict";

const { METHODS } = require("node:http");

/** The most bytes of headers that are read. */
const maxHeadBytes = 128 * 1024;

const methods = new Set(METHODS);

/** The head breaks the protocol or is no HTTP: answered with 400. */
class BadRequest extends Error {}

/** Names of headers by variable; programs and clients use few. Bounded, as clients choose them. */
const headerNames = new Map();
const maxHeaderNames = 1_000;

/** Variables that are no headers, or whose meaning for the connection ends at the front end. */
const notPassedOn = new Set(["HTTP_CONNECTION", "HTTP_TRANSFER_ENCODING", "HTTP_KEEP_ALIVE"]);

/** RFC 9110, 5.5: no control characters but the tab. NUL is what separates the values. */
// oxlint-disable-next-line no-control-regex -- they are what it refuses
const control = /[\x01-\x08\x0a-\x1f\x7f]/;

/** Reads `name NUL value NUL …`. */
function parseHead(payload) {
  const { length } = payload;
  if (length === 0 || payload[length - 1] !== 0) {
    throw new BadRequest("the headers do not end with a NUL");
  }
  const text = payload.latin1Slice(0, length - 1);
  const parts = text.split("\0");
  if (parts.length % 2 !== 0) throw new BadRequest("a header lacks its value");
  if (control.test(text)) refuseControl(parts);
  const head = {
    variables: Object.create(null),
    rawHeaders: [],
    /** Bytes of body to come; undefined: not told. */
    contentLength: undefined,
    isChunked: false,
    isKept: false,
    hasType: false,
  };
  for (let index = 0; index < parts.length; index += 2) {
    addVariable(head, parts[index], parts[index + 1]);
  }
  return checked(head);
}

function addVariable(head, name, value) {
  // Front ends send either form of these two, or both.
  if (name === "CONTENT_LENGTH" || name === "HTTP_CONTENT_LENGTH") {
    addLength(head, value);
  } else if (name === "CONTENT_TYPE" || name === "HTTP_CONTENT_TYPE") {
    if (value === "" || head.hasType) return;
    head.hasType = true;
    head.rawHeaders.push("content-type", value);
  } else if (name.startsWith("HTTP_")) {
    if (!notPassedOn.has(name)) head.rawHeaders.push(headerName(name), value);
    else if (name === "HTTP_TRANSFER_ENCODING") head.isChunked = value.toLowerCase() === "chunked";
  } else if (name === "SESSION_KEEP") {
    head.isKept = value === "1";
  } else if (name === "") {
    throw new BadRequest("a header lacks its name");
  } else {
    head.variables[name] = value;
  }
}

function addLength(head, value) {
  if (value === "") return;
  const length = parseLength(value);
  if (head.contentLength === undefined) head.rawHeaders.push("content-length", value);
  else if (head.contentLength !== length) throw new BadRequest("the body has two lengths");
  head.contentLength = length;
}

function headerName(variable) {
  const known = headerNames.get(variable);
  if (known !== undefined) return known;
  const name = variable.slice("HTTP_".length).toLowerCase().replaceAll("_", "-");
  if (!/^[!#$%&'*+.^`|~0-9a-z-]+$/.test(name)) {
    throw new BadRequest(`the header ${JSON.stringify(name)} is not one of HTTP`);
  }
  if (headerNames.size < maxHeaderNames) headerNames.set(variable, name);
  return name;
}

function refuseControl(parts) {
  const index = parts.findIndex((part) => control.test(part));
  const name = JSON.stringify(parts[index - (index % 2)]);
  throw new BadRequest(`the header ${name} holds a control character`);
}

function parseLength(value) {
  const length = /^[0-9]{1,16}$/.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(length)) throw new BadRequest("CONTENT_LENGTH is not a length");
  return length;
}

/** What a request cannot be without. */
function checked(head) {
  const { variables } = head;
  const method = variables.REQUEST_METHOD;
  if (method === undefined || method === "") throw new BadRequest("REQUEST_METHOD is missing");
  if (!methods.has(method)) throw new BadRequest(`the method ${method} cannot be served`);
  if (head.isChunked && head.contentLength !== undefined) {
    throw new BadRequest("the body has a length and is chunked");
  }
  head.url = targetOf(variables);
  if (!/^[!-~\x80-\xff]+$/.test(head.url)) {
    throw new BadRequest("the request target is not one of HTTP");
  }
  return head;
}

function targetOf(variables) {
  const uri = variables.REQUEST_URI;
  if (uri !== undefined && uri !== "") return uri;
  const { SCRIPT_NAME: script = "", PATH_INFO: info = "", QUERY_STRING: query = "" } = variables;
  // PATH_INFO is decoded (RFC 3875, 4.1.5); what a URL cannot hold is encoded again.
  const path = `${script}${info}`.replace(
    /[^!$&'()*+,\-./0-9:;=@A-Z_a-z~]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
  return `${path.startsWith("/") ? "" : "/"}${path}${query === "" ? "" : `?${query}`}`;
}

module.exports = { BadRequest, maxHeadBytes, parseHead };
