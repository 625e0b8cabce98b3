/**
 * The loader of node applications: required before the program, which then runs as if by `node
 * app.js`. It takes the program's first HTTP server (listen.cjs), or what its main module exports
 * (exported.cjs), serves sessions on descriptor 3 with it, and speaks on the lifeline, descriptor 4
 * (PROTOCOL section 10).
 *
 * The instance leaves after the requests at hand on SIGUSR1, and after the last session when the
 * lifeline has ended. SIGTERM keeps its default action. Nothing here keeps the process alive: a
 * program that ends without serving just ends, and says so. Node requires this file in threads and
 * children of the program too: where the variable is missing nothing is done, but for workers of
 * node:cluster (cluster.cjs) and for threads (threads.cjs).
 */
"use strict";

const variable = "APPLICATION_POOL_CONCURRENCY";
const asked = process.env[variable];
/** Of workers of node:cluster. */
const ofWorkers = "APPLICATION_POOL_WORKER";

if (asked !== undefined) {
  delete process.env[variable];
  load(Number(asked));
} else if (process.env[ofWorkers] !== undefined) {
  const concurrency = Number(process.env[ofWorkers]);
  delete process.env[ofWorkers];
  loadWorker(concurrency);
} else {
  const { inherited } = require("./threads.cjs");
  const shared = inherited();
  if (shared !== undefined) loadThread(shared);
}

function load(concurrency) {
  const { writeSync } = require("node:fs");
  const { inspect } = require("node:util");

  const { Host } = require("../javascript/host.ts");
  const { tellDone, tellFailure, tellReady } = require("../javascript/lifeline.ts");
  const { patchResponses } = require("./answer.cjs");
  const { Workers } = require("./cluster.cjs");
  const { serverOfMain } = require("./exported.cjs");
  const { watch } = require("./lifeline.cjs");
  const { takeFirstServer } = require("./listen.cjs");
  const { leaveThread, shareListener } = require("./threads.cjs");
  const { startWatchdog } = require("./watchdog.cjs");

  const host = new Host(concurrency, () => stopListening(host), tellDone);
  host.claim = shareListener(concurrency);
  const workers = new Workers(host, () => onServing(false));

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

  function onServing(tellsDone) {
    tellReady(concurrency, tellsDone);
    process.off("uncaughtException", onFailure);
    process.off("beforeExit", onNothingServed);
  }

  async function serveExported() {
    const server = await serverOfMain();
    const isServing = host.server !== undefined || workers.all.size > 0;
    if (server !== undefined && !isServing) serve(server);
  }

  function leave(isUnused) {
    const onGone = () => host.leave();
    if (host.server !== undefined && isUnused) return host.leaveUnused();
    const isThreads = host.server === undefined && workers.all.size === 0 && !host.claim();
    if (isThreads) return leaveThread(onGone, isUnused);
    return workers.leave(onGone, isUnused);
  }

  startWatchdog();
  patchResponses();
  const serve = takeFirstServer(host, () => onServing(true));
  watch(() => leave(true));
  process.on("uncaughtException", onFailure);
  process.on("beforeExit", onNothingServed);
  process.on("SIGUSR1", () => leave(false));
  // The main module has run by then, or at least begun to.
  setImmediate(serveExported);
}

/** In a worker of the program's: its first process speaks for it. */
function loadWorker(concurrency) {
  const { Host } = require("../javascript/host.ts");
  const { patchResponses } = require("./answer.cjs");
  const { obey } = require("./cluster.cjs");
  const { takeFirstServer } = require("./listen.cjs");

  const host = new Host(
    concurrency,
    () => stopListening(host),
    doNothing,
    () => process.exit(0),
  );
  patchResponses();
  takeFirstServer(host, doNothing);
  obey(host);
}

/** In a thread of the program's, which may be the one that listens. */
function loadThread({ concurrency, taken }) {
  const { Host } = require("../javascript/host.ts");
  const { tellDone, tellReady } = require("../javascript/lifeline.ts");
  const { patchResponses } = require("./answer.cjs");
  const { takeFirstServer } = require("./listen.cjs");
  const { claim, onLeave } = require("./threads.cjs");

  let tellGone;
  const host = new Host(
    concurrency,
    () => stopListening(host),
    tellDone,
    () => tellGone(),
  );
  host.claim = () => claim(taken);
  patchResponses();
  takeFirstServer(host, () => {
    tellGone = onLeave(host);
    tellReady(concurrency);
  });
}

function doNothing() {}

function stopListening(host) {
  if (host.server?.listening) host.server.close();
}
