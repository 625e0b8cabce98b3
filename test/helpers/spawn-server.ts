/**
 * A scriptable 2.0 spawn server for tests, run as a real one is: `bun spawn-server.ts "<61
 * spaces>"` with its socket on descriptor 3. What it does with a spawn is said by the last
 * component of the application root, up to the first `-`; what it gets is written to stdout, one
 * command a line.
 *
 * Its instances are real processes (spawn-server-instance.ts) that echo what they are sent.
 */
import { chownSync, existsSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { basename, dirname } from "node:path";

import { sendDescriptor } from "../../src/native/descriptors.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { makePipe } from "../../src/native/pipe.ts";
import { ignoreSignal, sendSignal, signals } from "../../src/native/process.ts";
import {
  abstractAddress,
  listenUnix,
  pathAddress,
  send,
  shutdown,
} from "../../src/native/socket.ts";
import { encodeArray } from "../../src/wire/array-message.ts";
import { ascii, toText, type ByteString } from "../../src/wire/bytes.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { encodeErrorPage } from "../../src/wire/instance-protocol.ts";
import { encodeSpawnedInstance, encodeSpawnOk, parseSpawnServerCommand } from "./peer-messages.ts";

const channel = 3;
const instanceScript = `${import.meta.dir}/spawn-server-instance.ts`;

type Listening = "file" | "padded" | "exact";

interface Started {
  readonly pid: number;
  readonly socketName: ByteString;
  readonly abstract: boolean;
  readonly ownerPipe: OwnedFd;
}

let count = 0;

/**
 * @param alsoInherited descriptors that the instance has from 5 on, as careless spawn servers do
 * it.
 */
function startInstance(
  root: string,
  listening: Listening,
  alsoInherited: readonly number[] = [],
): Started {
  count += 1;
  const name = `instance.${process.pid}.${count}`;
  const path = listening === "file" ? `${dirname(root)}/${name}` : name;
  const address = listening === "file" ? pathAddress(path) : abstractAddress(path, listening);
  using listener = listenUnix(address, 64);
  const { readEnd, writeEnd } = makePipe();
  using theirs = readEnd;
  const child = Bun.spawn([process.execPath, instanceScript], {
    stdio: ["ignore", "ignore", "inherit", listener.number, theirs.number, ...alsoInherited],
  });
  child.unref();
  return {
    pid: child.pid,
    socketName: ascii(path),
    abstract: listening !== "file",
    ownerPipe: writeEnd,
  };
}

async function sendAll(data: Uint8Array, pieceBytes = data.length): Promise<void> {
  for (let at = 0; at < data.length;) {
    const sent = send(channel, data.subarray(at, at + pieceBytes));
    at += sent;
    if (sent === 0 || pieceBytes < data.length) await Bun.sleep(1);
  }
}

async function answer(instance: Started, pieceBytes?: number): Promise<void> {
  const messages = [encodeSpawnOk(), encodeSpawnedInstance(instance)];
  await sendAll(Buffer.concat(messages), pieceBytes);
  using ownerPipe = instance.ownerPipe;
  sendDescriptor(channel, ownerPipe.number);
}

/** What can be asked for by the last component of an application root. */
const behaviours: Readonly<Record<string, (root: string, argument: string) => Promise<void>>> = {
  file: (root) => answer(startInstance(root, "file")),
  padded: (root) => answer(startInstance(root, "padded")),
  exact: (root) => answer(startInstance(root, "exact")),
  bytewise: (root) => answer(startInstance(root, "padded"), 1),
  slow: async (root, ms) => {
    await Bun.sleep(Number(ms));
    await answer(startInstance(root, "padded"));
  },
  hang: async () => {},
  crash: () => process.exit(1),
  crashonce: async (root) => {
    const marker = `${root}.crashed`;
    if (existsSync(marker)) return answer(startInstance(root, "padded"));
    writeFileSync(marker, "");
    process.exit(1);
  },
  // Answers, and is gone before the answer can have been read.
  answercrash: async (root) => {
    await answer(startInstance(root, "padded"));
    process.exit(1);
  },
  // The instance keeps our end of the socket open: the server sees no EOF when we die.
  leak: (root) => answer(startInstance(root, "padded", [channel])),
  noluck: () => sendAll(encodeErrorPage(Buffer.from("<html>no luck today</html>"))),
  deaf: async () => shutdown(channel),
  errorpage: () => sendAll(encodeErrorPage(Buffer.from("<html>no ruby today</html>"))),
  emptypage: () => sendAll(encodeErrorPage(new Uint8Array(0))),
  bigpage: () => sendAll(encodeErrorPage(Buffer.alloc(300_000, "x"))),
  endlesspage: async () => {
    await sendAll(encodeArray([ascii("error_page")]));
    await sendAll(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    await sendAll(Buffer.alloc(10_000_000, "x"));
  },
  babble: () => sendAll(Buffer.alloc(10_000_000, "babble")),
  empty: () => sendAll(new Uint8Array(2)),
  partial: () => sendAll(encodeSpawnOk().subarray(0, 3)),
  badstatus: () => sendAll(encodeArray([ascii("fine")])),
  badinfo: () => sendAll(Buffer.concat([encodeSpawnOk(), encodeArray([ascii("12")])])),
  badpid: () => sendAll(said("0", "/tmp/x", "false")),
  nodescriptor: () => sendAll(Buffer.concat([said("12", "x", "true"), Buffer.from([0])])),
  twodescriptors: async (root) => {
    const instance = startInstance(root, "padded");
    await answer(instance);
    sendDescriptor(channel, 1);
  },
  noise: async (root) => {
    await answer(startInstance(root, "padded"));
    await sendAll(Buffer.from("noise"));
  },
  chatter: async (root) => {
    for (let i = 0; i < 10_000; i += 1) writeSync(1, `${"chatter ".repeat(128)}\n`);
    await answer(startInstance(root, "padded"));
  },
  deadapp: async (root) => {
    const instance = startInstance(root, "padded");
    sendSignal(instance.pid, signals.SIGKILL);
    await answer(instance);
  },
  nolistener: (root) =>
    answer({ ...startInstance(root, "padded"), socketName: ascii(`none.${process.pid}`) }),
  nosocket: (root) => answer({ ...startInstance(root, "padded"), ...named(`${root}.none`) }),
  regular: (root) => {
    writeFileSync(`${root}.regular`, "");
    return answer({ ...startInstance(root, "padded"), ...named(`${root}.regular`) });
  },
  symlink: (root) => {
    const instance = startInstance(root, "file");
    symlinkSync(instance.socketName, `${root}.link`);
    return answer({ ...instance, ...named(`${root}.link`) });
  },
  foreign: (root, uid) => {
    const instance = startInstance(root, "file");
    chownSync(instance.socketName, Number(uid), Number(uid));
    return answer(instance);
  },
};

function said(...elements: string[]): Uint8Array {
  return Buffer.concat([encodeSpawnOk(), encodeArray(elements.map(ascii))]);
}

function named(path: string): { socketName: ByteString; abstract: boolean } {
  return { socketName: ascii(path), abstract: false };
}

const decoder = new Decoder();

async function serve(chunk: Uint8Array): Promise<void> {
  decoder.push(chunk);
  for (;;) {
    const elements = decoder.nextArray();
    if (elements === undefined) return;
    writeSync(1, `${elements.map(toText).join("|")}\n`);
    const command = parseSpawnServerCommand(elements);
    if (command.kind === "reload") continue;
    const [behaviour = "", argument = ""] = basename(command.app.root).split("-");
    const act = behaviours[behaviour];
    if (act === undefined) throw new Error(`no behaviour '${behaviour}'`);
    await act(command.app.root, argument);
  }
}

ignoreSignal(signals.SIGPIPE);
writeSync(1, `started ${process.pid} [${process.argv[2]}]\n`);
if (process.env["SPAWN_SERVER_IGNORES_TERM"] !== undefined) process.on("SIGTERM", () => {});
await Bun.connect({
  // The commands carry no descriptors, so Bun may read them; answers go out through our own calls.
  fd: channel,
  socket: {
    data: (_socket: Bun.Socket, chunk: Buffer) => void serve(Uint8Array.from(chunk)),
    end: () => {
      if (process.env["SPAWN_SERVER_STAYS"] === undefined) process.exit(0);
    },
  },
} as unknown as Bun.TCPSocketConnectOptions);
