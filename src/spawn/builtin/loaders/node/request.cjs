/**
 * Requests: Node's own IncomingMessage, filled from a session's head, and how a program's server
 * gets to see it. Runs inside instances.
 */
"use strict";

/** What the program sees as the connection's ends, in place of a Unix socket's. */
const ends = ["remoteAddress", "remotePort", "remoteFamily", "localAddress", "localPort"];
const endProperties = Object.fromEntries(
  [...ends, "encrypted"].map((name) => [name, { value: undefined, writable: true }]),
);

function makeRequest(head, socket, body, requestClass) {
  const { variables, rawHeaders } = head;
  const isSecure = /^(?:on|1|true)$/i.test(variables.HTTPS ?? "");
  const remote = variables.REMOTE_ADDR;
  socket.remoteAddress = remote;
  socket.remotePort = numberOf(variables.REMOTE_PORT);
  socket.remoteFamily = remote === undefined ? undefined : familyOf(remote);
  socket.localAddress = variables.SERVER_ADDR;
  socket.localPort = numberOf(variables.SERVER_PORT);
  socket.encrypted = isSecure;
  const request = new requestClass(socket);
  const minor = variables.SERVER_PROTOCOL === "HTTP/1.0" ? 0 : 1;
  request.httpVersionMajor = 1;
  request.httpVersionMinor = minor;
  request.httpVersion = `1.${minor}`;
  request.method = variables.REQUEST_METHOD;
  request.url = head.url;
  request.upgrade = false;
  // Programs look at this header to know that there is a body.
  if (body !== undefined && head.contentLength === undefined) {
    rawHeaders.push("transfer-encoding", "chunked");
  }
  request._addHeaderLines(rawHeaders, rawHeaders.length);
  return request;
}

function familyOf(address) {
  return address.includes(":") ? "IPv6" : "IPv4";
}

function numberOf(text) {
  return text === undefined || text === "" ? undefined : Number(text);
}

/** Does what Node's server does with a request, but for connections that would change protocol. */
function emitRequest(server, request, response) {
  const { expect, upgrade } = request.headers;
  if (request.method === "CONNECT" || (upgrade && server.listenerCount("upgrade") > 0)) {
    refuseSimply(response, 501, "A session cannot change to another protocol.\n");
  } else if (expect === undefined) {
    server.emit("request", request, response);
  } else if (/^100-continue$/i.test(expect)) {
    const event = server.listenerCount("checkContinue") > 0 ? "checkContinue" : "request";
    server.emit(event, request, response);
  } else if (!server.emit("checkExpectation", request, response)) {
    refuseSimply(response, 417, "Expectation failed.\n");
  }
}

function refuseSimply(response, status, text) {
  response.writeHead(status, { "content-type": "text/plain" });
  response.end(text);
}

module.exports = { emitRequest, endProperties, makeRequest };
