/**
 * The loader of node applications: required before the program, which then runs as if by `node
 * app.js`. It takes the program's first HTTP server (listen.cjs), or what its main module exports
 * (exported.cjs), serves sessions on descriptor 3 with it, and speaks on the lifeline, descriptor 4
 * (PROTOCOL section 10).
 *
 * The instance leaves after the sessions at hand when the lifeline ends or on SIGUSR1. SIGTERM
 * keeps its default action. Nothing here keeps the process alive: a program that ends without
 * serving just ends, and says so. Node requires this file in workers and forked children of the
 * program too, where the variable is missing and nothing is done.
 */
"use strict";

const variable = "APPLICATION_POOL_CONCURRENCY";
const asked = process.env[variable];

if (asked !== undefined) {
  delete process.env[variable];
  load(Number(asked));
}

function load(concurrency) {
  const { writeSync } = require("node:fs");
  const { inspect } = require("node:util");

  const { Host } = require("../javascript/host.cjs");
  const { tellDone, tellFailure, tellReady } = require("../javascript/lifeline.cjs");
  const { patchResponses } = require("./answer.cjs");
  const { serverOfMain } = require("./exported.cjs");
  const { watch } = require("./lifeline.cjs");
  const { takeFirstServer } = require("./listen.cjs");
  const { startWatchdog } = require("./watchdog.cjs");

  const host = new Host(concurrency, stopListening, tellDone);

  function stopListening() {
    if (host.server?.listening) host.server.close();
  }

  function onFailure(error) {
    const text = error instanceof Error ? inspect(error) : `it threw ${inspect(error)}`;
    writeSync(2, `${text}\n`);
    tellFailure(text);
    process.exit(1);
  }

  function onNothingServed() {
    tellFailure(
      "The program ended without serving: no HTTP server of its own listens, and its main module " +
        "exports neither a function of request and response nor a default with `fetch`.",
    );
  }

  function onServer() {
    tellReady(concurrency);
    process.off("uncaughtException", onFailure);
    process.off("beforeExit", onNothingServed);
  }

  async function serveExported() {
    const server = await serverOfMain();
    if (server !== undefined && host.server === undefined) serve(server);
  }

  startWatchdog();
  patchResponses();
  const serve = takeFirstServer(host, onServer);
  watch(() => host.leave());
  process.on("uncaughtException", onFailure);
  process.on("beforeExit", onNothingServed);
  process.on("SIGUSR1", () => host.leave());
  // The main module has run by then, or at least begun to.
  setImmediate(serveExported);
}
