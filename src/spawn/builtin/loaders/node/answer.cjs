/**
 * Answers: Node's own ServerResponse, writing to a session instead of an HTTP connection. Runs
 * inside instances. The head becomes CGI form, what describes a connection is left out, and on a
 * session that is kept the body is framed as in HTTP/1.1 (PROTOCOL sections 5 and 11). Responses of
 * other servers of the program are left as they are.
 */
"use strict";

const { IncomingMessage, OutgoingMessage, ServerResponse } = require("node:http");

/** Under this name a response knows its session. */
const ofSession = Symbol("session");

/** Node's own mark on a response whose writer waits for `drain`. */
const needsDrain = symbolOf(new ServerResponse(new IncomingMessage(null)), "kNeedDrain");

const ofTheConnection =
  /\r\n(?:connection|keep-alive|proxy-connection|status|trailer|transfer-encoding|upgrade):/i;
const contentLength = /\r\ncontent-length: *([0-9]+)\r\n/i;

/** From now on responses that belong to a session are written for it. */
function patchResponses() {
  const { _storeHeader: storeHeader, addTrailers } = OutgoingMessage.prototype;
  ServerResponse.prototype._storeHeader = function (firstLine, headers) {
    const session = this[ofSession];
    if (session === undefined) return storeHeader.call(this, firstLine, headers);
    // `HTTP/1.1 200 OK` becomes `Status: 200 OK`.
    storeHeader.call(this, `Status: ${firstLine.slice("HTTP/1.1 ".length)}`, headers);
    finishHead(this, session);
    return undefined;
  };
  // Chunks may end with trailers; a CGI answer has none.
  ServerResponse.prototype.addTrailers = function (headers) {
    if (this[ofSession] === undefined) addTrailers.call(this, headers);
  };
  for (const interim of ["writeContinue", "writeProcessing", "writeEarlyHints"]) {
    const real = ServerResponse.prototype[interim];
    if (real === undefined) continue;
    // CGI knows no interim answers.
    ServerResponse.prototype[interim] = function (...parameters) {
      if (this[ofSession] === undefined) return real.apply(this, parameters);
      const callback = parameters.at(-1);
      if (typeof callback === "function") process.nextTick(callback);
      return undefined;
    };
  }
}

/** Cleans the head that Node has made, and tells the session where the answer ends. */
function finishHead(response, session) {
  let head = response._header;
  if (!session.isKept) response.chunkedEncoding = false;
  if (ofTheConnection.test(head)) {
    head = withoutConnection(head, response.chunkedEncoding);
    response._header = head;
  }
  session.expect(response, head.length, lengthOf(response, head));
}

function lengthOf(response, head) {
  if (!response._hasBody) return 0;
  if (response.chunkedEncoding) return "chunked";
  const length = contentLength.exec(head)?.[1];
  return length === undefined ? undefined : Number(length);
}

function withoutConnection(head, isChunked) {
  const [status, ...lines] = head.split("\r\n");
  const kept = lines.filter((line) => {
    const isChunkedLine = isChunked && /^transfer-encoding: *chunked$/i.test(line);
    return isChunkedLine || !ofTheConnection.test(`\r\n${line}`);
  });
  return [status, ...kept].join("\r\n");
}

/** Lets Node frame the answer as for HTTP/1.1; finishHead() takes back what a session lacks. */
function prepareResponse(response, session) {
  response[ofSession] = session;
  // Node would not for a client of HTTP/1.0, which is the front end's business.
  response.useChunkedEncodingByDefault = true;
  response.shouldKeepAlive = true;
  // Without it Node would add a header `Connection`.
  response._removedConnection = true;
}

/** A symbol of Node's own, by its description. */
function symbolOf(object, description) {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
}

module.exports = { needsDrain, ofSession, patchResponses, prepareResponse, symbolOf };
