/**
 * What a node instance hears on its lifeline, descriptor 4 (PROTOCOL section 10). Runs inside
 * instances.
 */
"use strict";

const { Socket } = require("node:net");

const descriptor = 4;

/** The server is gone, or in its last seconds: no session may hold the process for ever. */
const stuckMs = 10_000;

/** Until the watchdog waits for the end: it would have to look again and again (watchdog.cjs). */
const watchdogMs = 50;

/**
 * While the program is loaded, too: a server that is gone takes with it what it was still starting.
 * What the server says (`stack`) this loader cannot do.
 */
function watch(leave) {
  setTimeout(() => read(leave), watchdogMs).unref();
}

function read(leave) {
  const socket = new Socket({ fd: descriptor, readable: true, writable: false });
  const onEnd = () => {
    setTimeout(() => process.exit(0), stuckMs).unref();
    leave();
  };
  // The number stays ours. What is told after the end would reach whoever has it, in any thread: a
  // session, or a file of the program's.
  socket._handle.close = () => {};
  socket.on("end", onEnd).on("error", onEnd).resume().unref();
}

module.exports = { watch };
