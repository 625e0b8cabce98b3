/**
 * Answers: Node's own ServerResponse, writing to a session instead of an HTTP connection. Runs
 * inside instances. The head becomes CGI form, what describes a connection is left out, and on a
 * session that is kept the body is framed as in HTTP/1.1 (PROTOCOL sections 5 and 11). Responses of
 * other servers of the program are left as they are.
 */
"use strict";

const { OutgoingMessage, ServerResponse } = require("node:http");
const { connectionHeaders, withoutConnection } = require("../javascript/connection-headers.ts");

/** Under this name a socket knows its session. */
const ofSession = Symbol("session");

const names = [...connectionHeaders].join("|");
const ofTheConnection = new RegExp(`\\r\\n(?:${names}):`, "i");
/** The same but for what Node itself says of a body in chunks. */
const ofTheConnectionInChunks = new RegExp(
  `\\r\\n(?!transfer-encoding: chunked\\r)(?:${names}):`,
  "i",
);
const contentLength = /\r\ncontent-length: *([0-9]+)\r\n/i;

/** From now on responses that belong to a session are written for it. */
function patchResponses() {
  const { _storeHeader: storeHeader, addTrailers } = OutgoingMessage.prototype;
  const { detachSocket } = ServerResponse.prototype;
  ServerResponse.prototype._storeHeader = function (firstLine, headers) {
    const session = sessionOf(this);
    if (session === undefined) return storeHeader.call(this, firstLine, headers);
    // Node would not for a visitor with HTTP/1.0, which is the front end's business; finishHead()
    // takes it back where the session is not kept.
    this.useChunkedEncodingByDefault = true;
    const { shouldKeepAlive } = this;
    this.shouldKeepAlive = true;
    // Without it Node would add a header `Connection`.
    this._removedConnection = true;
    // `HTTP/1.1 200 OK` becomes `Status: 200 OK`.
    storeHeader.call(this, `Status: ${firstLine.slice("HTTP/1.1 ".length)}`, headers);
    finishHead(this, session, !shouldKeepAlive || this._last);
    return undefined;
  };
  // Node has written all of an answer, and looks whether the connection goes on.
  ServerResponse.prototype.detachSocket = function (socket) {
    detachSocket.call(this, socket);
    const session = socket[ofSession];
    if (session === undefined) return;
    this._last = false;
    session.sent();
  };
  // Chunks may end with trailers; a CGI answer has none.
  ServerResponse.prototype.addTrailers = function (headers) {
    if (sessionOf(this) === undefined) addTrailers.call(this, headers);
  };
  for (const name of ["writeContinue", "writeProcessing", "writeEarlyHints"]) patchInterim(name);
}

/** Interim answers go where they are understood; that a body may come, the front end has said. */
function patchInterim(name) {
  const real = ServerResponse.prototype[name];
  if (real === undefined) return; // Not in the first versions of Node 18.
  ServerResponse.prototype[name] = function (...parameters) {
    const session = sessionOf(this);
    if (session === undefined) {
      real.apply(this, parameters);
    } else if (session.head.isKept && name !== "writeContinue") {
      this._writeRaw = (text, ...rest) => {
        delete this._writeRaw;
        return this._writeRaw(`Status: ${text.slice("HTTP/1.1 ".length)}`, ...rest);
      };
      real.apply(this, parameters);
      delete this._writeRaw;
    } else {
      const callback = parameters.at(-1);
      if (typeof callback === "function") process.nextTick(callback);
    }
  };
}

/** The session of a response; undefined once it has ended, too. */
function sessionOf(response) {
  const session = response.req?.socket?.[ofSession];
  return session?.head === undefined ? undefined : session;
}

/**
 * Cleans the head that Node has made, and tells the session where the answer ends. `endsSession`:
 * the program has said that its connection ends behind it.
 */
function finishHead(response, session, endsSession) {
  let head = response._header;
  if (!session.head.isKept) response.chunkedEncoding = false;
  const isOfTheConnection = response.chunkedEncoding ? ofTheConnectionInChunks : ofTheConnection;
  if (isOfTheConnection.test(head)) {
    const [status, ...lines] = head.split("\r\n");
    const coding = response.chunkedEncoding ? ["Transfer-Encoding: chunked"] : [];
    head = [status, ...coding, ...withoutConnection(lines)].join("\r\n");
    response._header = head;
  }
  // An interim status ends no request: what its client waits for will not come.
  const last = session.lastLine(endsSession || response.statusCode < 200);
  if (last !== "") {
    head = `${head.slice(0, -2)}${last}\r\n`;
    response._header = head;
  }
  session.expect(head.length, lengthOf(response, head));
}

function lengthOf(response, head) {
  if (!response._hasBody) return 0;
  if (response.chunkedEncoding) return "chunked";
  const length = contentLength.exec(head)?.[1];
  return length === undefined ? undefined : Number(length);
}

module.exports = { ofSession, patchResponses };
