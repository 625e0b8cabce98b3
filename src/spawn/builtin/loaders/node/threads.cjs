/**
 * Programs whose server listens in a thread of node:worker_threads. Runs inside instances, in the
 * main thread and in others. Whichever thread is the first to listen takes the instance's listener;
 * servers of others listen as they say. The main thread hears the lifeline and passes on that the
 * instance is to leave.
 */
"use strict";

const {
  BroadcastChannel,
  getEnvironmentData,
  isMainThread,
  setEnvironmentData,
} = require("node:worker_threads");

/** Of what threads inherit, and of the channel between them. */
const name = "application pool";

/** What the main thread has left for this one; undefined: this is none of an instance's. */
function inherited() {
  return isMainThread ? undefined : getEnvironmentData(name);
}

/** In the main thread, before there are others. @returns how the listener is claimed, once. */
function shareListener(concurrency) {
  const taken = new Int32Array(new SharedArrayBuffer(4));
  setEnvironmentData(name, { concurrency, taken });
  return () => claim(taken);
}

/** @returns whether nobody has it. */
function claim(taken) {
  return Atomics.compareExchange(taken, 0, 0, 1) === 0;
}

/**
 * In the main thread: has the thread leave that serves, after the requests at hand or once it is
 * unused; then `onGone` is called.
 */
function leaveThread(onGone, isUnused) {
  const channel = new BroadcastChannel(name);
  channel.addEventListener("message", ({ data }) => {
    if (data !== "gone") return;
    channel.close();
    onGone();
  });
  post(channel, isUnused ? "leave unused" : "leave");
}

/** In the thread that serves: has `host` leave when it is to. @returns what says it has. */
function onLeave(host) {
  const channel = new BroadcastChannel(name);
  channel.addEventListener("message", ({ data }) => {
    if (data === "leave") host.leave();
    else if (data === "leave unused") host.leaveUnused();
  });
  channel.unref();
  return () => post(channel, "gone");
}

function post(channel, word) {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- it is no window
  channel.postMessage(word);
}

module.exports = { claim, inherited, leaveThread, onLeave, shareListener };
