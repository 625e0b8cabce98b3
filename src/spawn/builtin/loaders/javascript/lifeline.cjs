/**
 * What an instance says on its lifeline, descriptor 4 (PROTOCOL section 10), for the loaders of
 * JavaScript. Runs inside instances.
 */
"use strict";

const descriptor = 4;

/** Loaded when it is used: in Bun it takes a third of the runtime's own start. */
const writeSync = (...values) => require("node:fs").writeSync(...values);

/**
 * Writes a message that is so small that the kernel takes it whole or not at all. @returns whether
 * it has been taken, or nobody is there any more who wants to know.
 */
let write = (message) => {
  try {
    writeSync(descriptor, message);
  } catch (error) {
    return error.code !== "EAGAIN";
  }
  return true;
};

/** Another way to do that. */
function writeBy(function_) {
  write = function_;
}

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

/** That so many sessions are served at once, and whether the end of each is told. */
function tellReady(concurrency, tellsDone = true) {
  write(arrayMessage("ready", String(concurrency), ...(tellsDone ? ["done"] : [])));
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
  if (write(arrayMessage("done", String(untold)))) untold = 0;
  else setTimeout(tellUntold, retryMs).unref();
}

function tellFailure(text) {
  const page = Buffer.from(text).subarray(0, maxFailureBytes);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(page.length);
  tell(Buffer.concat([arrayMessage("error_page"), size, page]));
}

module.exports = { tellDone, tellFailure, tellReady, writeBy };
