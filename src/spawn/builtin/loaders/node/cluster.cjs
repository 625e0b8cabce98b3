/**
 * Programs that serve by workers of node:cluster. Runs inside instances, in the process that forks
 * and in those workers. A worker's server listens on the instance's own listener through Node's
 * cluster, which hands each session to one of them; their first process, the instance, is ready
 * when the first of them listens, and has them leave. It does not report the ends of sessions,
 * which it does not see. Where it has a server of its own, its workers are left as they are.
 */
"use strict";

const cluster = require("node:cluster");
const { syncBuiltinESMExports } = require("node:module");
const net = require("node:net");

/** Tells a worker how many sessions it serves at once (preload.cjs). */
const variable = "APPLICATION_POOL_WORKER";

const listener = 3;

/** Node shows messages whose `cmd` begins so to no program. */
const leaveMessage = { cmd: "NODE_APPLICATION_POOL_LEAVE" };
const leaveUnusedMessage = { cmd: "NODE_APPLICATION_POOL_LEAVE_UNUSED" };
const renewMessage = { cmd: "NODE_APPLICATION_POOL_RENEW" };

/** In a worker: does what its first process says. */
function obey(host) {
  process.on("internalMessage", ({ cmd }) => {
    if (cmd === leaveMessage.cmd) host.leave();
    else if (cmd === leaveUnusedMessage.cmd) host.leaveUnused();
    else if (cmd === renewMessage.cmd) host.renew();
  });
}

/** The workers of a program, if its first process does not serve by itself. */
class Workers {
  /** @param onListening is called once, when the first of them listens. */
  constructor(host, onListening) {
    /** Those that are there. */
    this.all = new Set();
    this.isListening = false;
    this.onListening = onListening;
    this.onGone = undefined;
    const { fork } = cluster;
    const workers = this;
    cluster.fork = function (environment) {
      if (host.server !== undefined) return fork.call(this, environment);
      if (!host.isServedByOthers) {
        host.isServedByOthers = true;
        // The other way each worker has the listener, and the last to go closes it.
        cluster.schedulingPolicy = cluster.SCHED_RR;
        keepListener();
      }
      const worker = fork.call(this, { ...environment, [variable]: String(host.concurrency) });
      workers.forked(worker);
      return worker;
    };
    syncBuiltinESMExports();
  }

  forked(worker) {
    this.all.add(worker);
    worker.on("listening", ({ fd }) => {
      if (fd !== listener) return;
      // The others' sessions are kept: while requests keep coming, it would get none.
      for (const other of this.all) if (other !== worker) tell(other, renewMessage);
      if (this.isListening) return;
      this.isListening = true;
      this.onListening();
    });
    const child = worker.process;
    const { send } = child;
    let session;
    child.send = (message, handle, ...rest) => {
      if (message?.act === "newconn") {
        session = handle;
        // Node goes by its channel alone, whose end may come later, or never.
        if (worker.isDead()) return void session.close();
      }
      return send.call(child, message, handle, ...rest);
    };
    child.once("exit", () => {
      this.all.delete(worker);
      if (session?.fd >= 0) {
        // By then the end of a channel has been seen that nobody else holds.
        setImmediate(() => setImmediate(endSession, session, child));
      }
      if (this.all.size === 0) this.onGone?.();
    });
    if (this.onGone !== undefined) tell(worker, leaveMessage);
  }

  /**
   * Has all of them leave, each after the requests at hand, or where they are to leave unused after
   * its last session; then `onGone` is called.
   */
  leave(onGone, isUnused) {
    if (this.all.size === 0) return onGone();
    this.onGone = onGone;
    for (const emitter of [cluster, ...this.all]) {
      // Programs would fork others in their place.
      emitter.removeAllListeners("exit").removeAllListeners("disconnect");
    }
    for (const worker of this.all) tell(worker, isUnused ? leaveUnusedMessage : leaveMessage);
    return undefined;
  }
}

/** Ends one that was handed over and not taken: while it is open, its client waits for nobody. */
function endSession(session, { connected }) {
  // It is in the channel, too, where it stays open until whoever holds that has gone.
  if (connected) new net.Socket({ handle: session }).on("error", () => {}).destroySoon();
  else session.close();
}

function tell(worker, message) {
  // An error is that of one that is gone.
  if (worker.isConnected()) worker.process.send(message, () => {});
}

/**
 * Node's cluster closes what its workers listen on when none is left: here it stays, and sessions
 * wait for the next of them.
 */
function keepListener() {
  const { listen } = net.Server.prototype;
  const held = [];
  let handle;
  net.Server.prototype.listen = function (...parameters) {
    if (parameters[0]?.fd !== listener) return listen.apply(this, parameters);
    if (handle !== undefined) {
      this._handle = handle;
      process.nextTick(() => this.emit("listening"));
      setImmediate(() => {
        for (const session of held.splice(0)) handle.onconnection(0, session);
      });
      return this;
    }
    listen.apply(this, parameters);
    handle = this._handle;
    handle.close = () => {
      handle.onconnection = (error, session) => {
        if (!error) held.push(session);
      };
    };
    return this;
  };
}

module.exports = { Workers, obey };
