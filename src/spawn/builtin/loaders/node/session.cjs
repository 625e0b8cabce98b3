/**
 * A session of a node application. Runs inside instances. The head becomes one of HTTP/1.1 and goes
 * to Node's own parser, with the body behind it, as if the socket were a client's connection;
 * everything that a program sees and does is Node's own code. Of what Node's server does with a
 * connection this takes over where requests begin and end, and what the ends of the socket mean.
 */
"use strict";

const { httpHead } = require("../javascript/head.ts");
const { InstanceSession } = require("../javascript/session.ts");
const { ofSession } = require("./answer.cjs");

/** How often it is looked whether a client that has ended its side is still there. */
const probeMs = 1_000;

const nothing = Buffer.alloc(0);

/** What the program sees as the connection's ends, in place of a Unix socket's. */
const ends = ["remoteAddress", "remotePort", "remoteFamily", "localAddress", "localPort"];
const endProperties = Object.fromEntries(
  [...ends, "encrypted"].map((name) => [name, { value: undefined, writable: true }]),
);

/** What a Node server's parser answers to a head after which the protocol changes. */
const upgraded = 2;

class NodeSession extends InstanceSession {
  /** @param host has `server`, the program's, too. @param serveHttp Node's own for connections. */
  constructor(socket, host, serveHttp) {
    super(connectionOf(socket), host);
    this.socket = socket;
    this.server = host.server;
    this.response = undefined;
    this.answerStart = 0;
    this.answerLength = undefined;
    Object.defineProperties(socket, endProperties);
    socket[ofSession] = this;
    serveHttp.call(this.server, socket);
    socket.setTimeout(0);
    /** Gives bytes to Node's parser. */
    this.parse = takeListener(socket, "data");
    takeListener(socket, "end");
    socket.on("data", onData).on("end", onEnd).on("close", onClose);
    const { onIncoming } = socket.parser;
    socket.parser.onIncoming = (request, isKept) => this.incoming(onIncoming, request, isKept);
  }

  begin(head) {
    if (head.method === "CONNECT") {
      this.answerSimply("501 Not Implemented", "A session cannot become a tunnel.\n");
      return;
    }
    const { server, socket } = this;
    setEnds(socket, head);
    if (server.timeout > 0) socket.setTimeout(server.timeout);
    const text = httpHead(head, this.isInChunks);
    const bytes = Buffer.from(text, "latin1");
    if (head.upgrade === "") {
      // A program that does not wait for its body answers at once: it is here all the same.
      const whole = this.takeWholeBody();
      this.parse(bytes);
      if (whole !== undefined) this.parse(whole);
      return;
    }
    const { ahead } = this;
    this.ahead = nothing;
    this.parse(Buffer.concat([bytes, ahead]));
  }

  incoming(onIncoming, request, isKept) {
    if (this.head.protocol === "HTTP/1.0") {
      request.httpVersionMinor = 0;
      request.httpVersion = "1.0";
    }
    const answer = onIncoming(request, isKept);
    if (answer === upgraded) this.upgrade();
    else this.response = this.socket._httpMessage ?? undefined;
    return answer;
  }

  /** From now on the socket is the program's. */
  upgrade() {
    const { socket } = this;
    socket.removeListener("data", onData).removeListener("end", onEnd).setTimeout(0);
    this.change();
    // What is written first is the answer's head, or all of it.
    for (const method of ["write", "end"]) {
      socket[method] = (...parameters) => {
        delete socket.write;
        delete socket.end;
        this.over();
        return socket[method](...parameters);
      };
    }
  }

  deliver(bytes) {
    if (bytes.length > 0) this.parse(this.framed(bytes));
  }

  endBody() {
    if (this.isInChunks) this.parse(this.framed(nothing));
    if (this.hasClientEnded) this.watchClient();
  }

  end() {
    super.end();
    if (this.state === "answering") this.watchClient();
  }

  /** After its EOF a client that is gone shows only as EPIPE, also to a write of nothing. */
  watchClient() {
    clearInterval(this.timer);
    const probe = () => {
      if (this.socket.writableLength === 0) this.socket.write(nothing);
    };
    probe();
    this.timer = setInterval(probe, probeMs).unref();
  }

  /** Node tells the program when the socket is closed. */
  abort() {
    this.socket.destroy();
  }

  /** The head of the answer is made. `length`: of its body, `chunked`, or undefined: to the end. */
  expect(headLength, length) {
    this.answerStart = this.socket.bytesWritten + headLength;
    this.answerLength = length;
  }

  /** Node has written the answer. */
  sent() {
    const { server, socket } = this;
    if (socket.timeout > 0) socket.setTimeout(0);
    this.response = undefined;
    const mayKeep = socket.writable && server.listening && server === this.host.server;
    this.answered(mayKeep && this.isFramed());
  }

  /** Whether the client can see where the answer ends: its length is the one announced. */
  isFramed() {
    if (this.answerLength === "chunked") return true;
    return this.socket.bytesWritten - this.answerStart === this.answerLength;
  }

  gone() {
    const { response } = this;
    if (response === undefined || response.writableEnded) return false;
    const { end } = response;
    response.end = (...parameters) => {
      this.over();
      return end.apply(response, parameters);
    };
    return true;
  }
}

function connectionOf(socket) {
  return {
    write: (data) => socket.write(data),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    // At once where all is written: an EOF before would hide from the client, whose next request
    // may be on its way, that nobody has read it. (Below 3, where a program that has closed its
    // output makes room, libuv closes no descriptor: there the EOF is all that the client gets.)
    end: () => {
      const endsAtOnce = socket.writableLength === 0 && socket._handle?.fd > 2;
      return endsAtOnce ? socket.destroy() : socket.destroySoon();
    },
    shutdown: () => socket.end(),
    destroy: () => socket.destroy(),
  };
}

/** Takes away the listener that was added last. */
function takeListener(socket, event) {
  const listener = socket.listeners(event).at(-1);
  socket.removeListener(event, listener);
  return listener;
}

function setEnds(socket, { remoteAddress, remotePort, serverAddress, serverPort, isSecure }) {
  socket.remoteAddress = remoteAddress === "" ? undefined : remoteAddress;
  socket.remotePort = remotePort === "" ? undefined : Number(remotePort);
  socket.remoteFamily = remoteAddress === "" ? undefined : familyOf(remoteAddress);
  socket.localAddress = serverAddress === "" ? undefined : serverAddress;
  socket.localPort = serverPort === "" ? undefined : Number(serverPort);
  socket.encrypted = isSecure;
}

function familyOf(address) {
  return address.includes(":") ? "IPv6" : "IPv4";
}

// One function each for all sessions, instead of closures for every one.
function onData(chunk) {
  this[ofSession].data(chunk);
}

function onEnd() {
  this[ofSession].end();
}

function onClose() {
  this[ofSession].closed();
}

module.exports = { NodeSession };
