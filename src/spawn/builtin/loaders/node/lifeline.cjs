/**
 * The instance's end of its lifeline, descriptor 4 (PROTOCOL section 10). Runs inside instances.
 */
"use strict";

const { writeSync } = require("node:fs");
const { Socket } = require("node:net");

const descriptor = 4;

/** The server is gone, or in its last seconds: no session may hold the process for ever. */
const stuckMs = 10_000;

const maxFailureBytes = 60_000;

function arrayMessage(...elements) {
  const payload = Buffer.from(elements.map((element) => `${element}\0`).join(""), "latin1");
  const size = Buffer.alloc(2);
  size.writeUInt16BE(payload.length);
  return Buffer.concat([size, payload]);
}

function tell(message) {
  for (let at = 0; at < message.length;) at += writeSync(descriptor, message, at);
}

/** That so many sessions are served at once, and that the end of each is told. */
function tellReady(concurrency) {
  tell(arrayMessage("ready", String(concurrency), "done"));
}

/** Sessions that are over, and that the server has not been told of yet. */
let untold = 0;

/** When a server that does not read is tried again. */
const retryMs = 20;

/** Another session is over for this instance. Does not wait for the server to read it. */
function tellDone() {
  untold += 1;
  if (untold === 1) tellUntold();
}

function tellUntold() {
  try {
    // The kernel takes a message as small as this whole or not at all.
    writeSync(descriptor, arrayMessage("done", String(untold)));
    untold = 0;
  } catch (error) {
    // EPIPE: the server is gone, and nobody wants to know.
    if (error.code === "EAGAIN") setTimeout(tellUntold, retryMs).unref();
  }
}

function tellFailure(text) {
  const page = Buffer.from(text).subarray(0, maxFailureBytes);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(page.length);
  tell(Buffer.concat([arrayMessage("error_page"), size, page]));
}

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
  socket.on("end", onEnd).on("error", onEnd).resume().unref();
}

module.exports = { tellDone, tellFailure, tellReady, watch };
