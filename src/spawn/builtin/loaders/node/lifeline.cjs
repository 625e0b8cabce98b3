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

function tellReady(concurrency) {
  tell(arrayMessage("ready", String(concurrency)));
}

function tellFailure(text) {
  const page = Buffer.from(text).subarray(0, maxFailureBytes);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(page.length);
  tell(Buffer.concat([arrayMessage("error_page"), size, page]));
}

/** From the first moment: a server that is gone takes with it what it was still starting. */
function watch(leave) {
  const socket = new Socket({ fd: descriptor, readable: true, writable: false });
  const onEnd = () => {
    setTimeout(() => process.exit(0), stuckMs).unref();
    leave();
  };
  socket.on("end", onEnd).on("error", onEnd).resume().unref();
}

module.exports = { tellFailure, tellReady, watch };
