/**
 * Takes the program's first HTTP server that listens, whatever port it names: it listens on
 * descriptor 3 instead. Runs inside instances. Everything else stays Node's own: the events, the
 * callback, close(). Servers that speak something else, and further ones, listen as they say.
 */
"use strict";

const http = require("node:http");
const net = require("node:net");

const { NodeSession } = require("./session.cjs");

const listener = 3;
/** As the spawner's; listening again sets it anew. */
const backlog = 1024;

/** What Node's own HTTP does with a connection. */
const [serveHttp] = new http.Server().listeners("connection");

/** Loaded for servers that are not plain HTTP alone: TLS takes as long as half of Node's start. */
const https = () => require("node:https");

/** The listeners by which such a server takes connections, which sessions take in their place. */
function ownListeners(server) {
  if (server instanceof http.Server) return [serveHttp];
  return [serveHttp, ...new (https().Server)().listeners("connection")];
}

/**
 * What a server expects of clients' connections, and sessions are not measured by: whoever is at
 * their other end is trusted, and ends them itself.
 */
const limits = ["headersTimeout", "requestTimeout", "keepAliveTimeout", "maxRequestsPerSocket"];

/** Beyond what a session's head can be. */
const maxHeaderSize = 256 * 1024;

/**
 * `onServer(server)` is called once the program's server listens. @returns `serve(server)`: makes a
 * server listen that the program itself does not know of; a later one of its own takes its place.
 */
function takeFirstServer(host, onServer) {
  const { listen } = net.Server.prototype;
  let first;
  let standIn;
  let address;

  function serve(server) {
    const none = { configurable: true, get: () => 0, set: () => {} };
    for (const limit of limits) Object.defineProperty(server, limit, none);
    server.maxHeaderSize = maxHeaderSize;
    // The front end decides; applications of 2.0 need not be given one.
    server.requireHostHeader = false;
    host.server = server;
  }

  function take(server, wanted) {
    first = server;
    address = wanted;
    server.address = () => (server.listening ? address : null);
    server.removeAllListeners("secureConnection");
    for (const own of ownListeners(server)) server.removeListener("connection", own);
    server.prependListener("connection", (socket) => new NodeSession(socket, host, serveHttp));
    server.closeIdleConnections = () => host.closeIdle();
    serve(server);
    server.once("listening", () => onServer(server));
    return listen.call(server, { fd: listener }, backlog);
  }

  net.Server.prototype.listen = function (...parameters) {
    host.isServedByOthers ||= isHttp(this) && first === undefined && !host.claim();
    if (!isHttp(this) || host.isServedByOthers) {
      if (first === undefined) refuseHttp2(this);
      return listen.apply(this, parameters);
    }
    const wanted = addressOf(parameters);
    const isOurs = first === undefined || first === standIn || isSamePort(wanted, address);
    if (!isOurs) return listen.apply(this, parameters);
    const callback = parameters.at(-1);
    if (typeof callback === "function") this.once("listening", callback);
    if (first === undefined) return take(this, wanted);
    if (first === standIn) {
      first = this;
      address = wanted;
      serve(this);
      host.closeIdle();
    }
    return pretend(this, wanted);
  };

  return (server) => {
    standIn = server;
    server.listen(0);
  };
}

function isHttp(server) {
  return (
    server instanceof http.Server ||
    server instanceof https().Server ||
    (isHttp2(server) && server.allowHTTP1 === true)
  );
}

function isHttp2(server) {
  return /^Http2(Secure)?Server$/.test(server.constructor.name);
}

function refuseHttp2(server) {
  if (!isHttp2(server)) return;
  throw new Error(
    "a server of HTTP/2 alone cannot be served: create it with node:http, or with `allowHTTP1`",
  );
}

/** Where a call of listen() asked to listen, as address() would say it. */
function addressOf([first, second]) {
  const options = typeof first === "object" && first !== null ? first : { port: first };
  const { path = options.port, port, host = second } = options;
  if (typeof path === "string" && !/^[0-9]+$/.test(path)) return path;
  const isHost = typeof host === "string" && host !== "";
  const address = !isHost ? "::" : net.isIP(host) === 0 ? "127.0.0.1" : host;
  const family = net.isIPv6(address) ? "IPv6" : "IPv4";
  return { address, family, port: typeof port === "function" ? 0 : Number(port ?? 0) };
}

/** Programs ask for one port on several addresses, each with a server of its own. */
function isSamePort(one, other) {
  return one.port > 0 && one.port === other.port;
}

/** Lets a server believe that it listens; what it would get comes another way, or not at all. */
function pretend(server, address) {
  let isListening = true;
  Object.defineProperty(server, "listening", { configurable: true, get: () => isListening });
  server.address = () => (isListening ? address : null);
  server.close = (callback) => {
    isListening = false;
    if (typeof callback === "function") server.once("close", callback);
    process.nextTick(() => server.emit("close"));
    return server;
  };
  process.nextTick(() => server.emit("listening"));
  return server;
}

module.exports = { takeFirstServer };
