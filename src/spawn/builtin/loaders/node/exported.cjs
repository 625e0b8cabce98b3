/**
 * Programs that export what answers requests instead of listening: a function of request and
 * response, as module.exports or the default export (an Express application is one), or an object
 * with the Web platform's `fetch`. Runs inside instances.
 */
"use strict";

const { realpathSync } = require("node:fs");
const { createServer } = require("node:http");
const { Readable } = require("node:stream");
const { pathToFileURL } = require("node:url");
const { inspect } = require("node:util");

/** The server for what the program's main module exports; undefined if that answers nothing. */
async function serverOfMain() {
  const exported = process.mainModule?.exports ?? (await importMain());
  for (const candidate of [exported, exported?.default]) {
    if (typeof candidate?.fetch === "function") return createServer(byFetch(candidate));
    if (typeof candidate === "function") return createServer(candidate);
  }
  return undefined;
}

/** The main module again, which is not run again. */
async function importMain() {
  try {
    return await import(pathToFileURL(realpathSync(process.argv[1])).href);
  } catch {
    return undefined; // Node itself says what is wrong with it.
  }
}

function byFetch(application) {
  return (request, response) => {
    answer(application, request, response).catch((error) => {
      if (response.destroyed) return;
      process.stderr.write(`${inspect(error)}\n`);
      // The head may be out already: the missing end is all that can still be told.
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error\n");
    });
  };
}

async function answer(application, request, response) {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort();
  });
  const answered = await application.fetch(webRequest(request, gone.signal));
  if (!(answered instanceof Response)) throw new TypeError("fetch returned what is no Response");
  send(answered, response);
  if (answered.body === null || request.method === "HEAD") {
    await answered.body?.cancel();
    response.end();
    return;
  }
  for await (const chunk of answered.body) {
    if (!response.write(bytesOf(chunk))) await room(response);
    if (response.destroyed) return;
  }
  response.end();
}

function send({ status, statusText, headers }, response) {
  response.statusCode = status;
  if (/^[ -~]+$/.test(statusText)) response.statusMessage = statusText;
  for (const [name, value] of headers) {
    if (name !== "set-cookie") response.setHeader(name, value);
  }
  // Cookies must not become one list; the first versions of Node 18 can only give that.
  const cookies = headers.getSetCookie?.() ?? headers.get("set-cookie") ?? [];
  if (cookies.length > 0) response.setHeader("set-cookie", cookies);
}

function bytesOf(chunk) {
  if (typeof chunk === "string" || chunk instanceof Uint8Array) return chunk;
  throw new TypeError("a stream of the answer gave something that is no bytes");
}

/** Resolves when more may be written, or nobody is there any more. */
function room(response) {
  return new Promise((resolve) => {
    response.once("drain", resolve).once("close", resolve);
  });
}

function webRequest(request, signal) {
  const { method, url, socket } = request;
  const host = request.headers.host ?? "localhost";
  const scheme = socket.encrypted ? "https" : "http";
  const headers = new Headers();
  const { rawHeaders } = request;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    headers.append(rawHeaders[index], rawHeaders[index + 1]);
  }
  const hasBody = method !== "GET" && method !== "HEAD";
  const body = hasBody ? { body: Readable.toWeb(request), duplex: "half" } : {};
  const target = url.startsWith("/") ? `${scheme}://${host}${url}` : url;
  return new Request(target, { method, headers, signal, ...body });
}

module.exports = { serverOfMain };
