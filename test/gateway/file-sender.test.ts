/** Files on real sockets, plain and with TLS, to visitors who take them fast, slowly or not. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect as connectPlain, type Socket as NodeSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { Socket } from "bun";

import { FileSender, type FileSink } from "../../src/gateway/files/file-sender.ts";
import { Certificates } from "../../src/gateway/worker/tls.ts";
import { open } from "../../src/native/fd.ts";
import { certificateOf, makeCertificate } from "../helpers/certificates.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";

let directory = "";
let certificates: Certificates;
const stops: (() => void)[] = [];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pool-"));
  makeCertificate(directory, "a");
  certificates = new Certificates({
    certificates: [certificateOf(directory, "a")],
    redirectPort: undefined,
    strictTransport: undefined,
  });
});

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

afterAll(() => rmSync(directory, { recursive: true }));

const size = 16_000_000;
const content = Buffer.from(new Uint8Array(size).map((_, index) => (index * 7) % 253));

function putFile(): string {
  const path = join(directory, "file");
  writeFileSync(path, content);
  return path;
}

interface Sending {
  readonly port: number;
  /** How each call ended; the last: `done`, or an error's text. */
  readonly outcomes: string[];
}

/** Serves a part of the file to whoever connects. */
function serve(path: string, form: "plain" | "tls", offset = 0, length = size - offset): Sending {
  const outcomes: string[] = [];
  const go = (socket: Socket<FileSender | undefined>): void => {
    const sender = socket.data;
    if (sender === undefined) return;
    let outcome: string;
    try {
      outcome = sender.send(socket as Socket<FileSender> & FileSink);
    } catch (error) {
      outcome = String(error);
    }
    outcomes.push(outcome);
    if (outcome === "again") return void setImmediate(() => go(socket));
    if (outcome === "drain") return;
    sender.close();
    socket.data = undefined;
    if (outcome === "done") socket.end();
    else socket.terminate();
  };
  const listener = Bun.listen<FileSender | undefined>({
    hostname: "127.0.0.1",
    port: 0,
    ...(form === "tls" ? { tls: certificates.options } : {}),
    socket: {
      data: (socket) => {
        const fd = open(path, "read");
        socket.data = new FileSender({ fd, offset, length }, form === "plain");
        socket.write("head\n");
        go(socket);
      },
      drain: go,
      close: (socket) => socket.data?.close(),
    },
  });
  stops.push(() => listener.stop(true));
  return { port: listener.port, outcomes };
}

function connect(form: "plain" | "tls", port: number): NodeSocket {
  const socket =
    form === "tls"
      ? connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false })
      : connectPlain({ host: "127.0.0.1", port });
  socket.on("error", () => {});
  socket.write("go");
  stops.push(() => socket.destroy());
  return socket;
}

/** What comes until the end; with `pauseBytes`, a pause after so many. */
async function take(socket: NodeSocket, pauseBytes = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let sincePause = 0;
  socket.on("data", (piece: Buffer) => {
    pieces.push(piece);
    sincePause += piece.length;
    if (sincePause < pauseBytes) return;
    sincePause = 0;
    socket.pause();
    setTimeout(() => socket.resume(), 2);
  });
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(pieces);
}

for (const form of ["plain", "tls"] as const) {
  test(`${form}: a file comes whole behind what was written before`, async () => {
    const { port, outcomes } = serve(putFile(), form);
    const got = await take(connect(form, port));
    expect(got.subarray(0, 5).toString()).toBe("head\n");
    expect(got.subarray(5).equals(content)).toBe(true);
    expect(outcomes.at(-1)).toBe("done");
    expect(outcomes.length).toBeGreaterThanOrEqual(size / (1024 * 1024));
  });

  test(`${form}: to a slow visitor it goes as he takes it`, async () => {
    const { port, outcomes } = serve(putFile(), form);
    const got = await take(connect(form, port), 300_000);
    expect(got.subarray(5).equals(content)).toBe(true);
    expect(outcomes).toContain("drain");
  });

  test(`${form}: a part is that part`, async () => {
    const { port } = serve(putFile(), form, 1_000_003, 2_345_678);
    const got = await take(connect(form, port));
    expect(got.subarray(5).equals(content.subarray(1_000_003, 3_345_681))).toBe(true);
  });

  test(`${form}: a file that becomes shorter is an error, not an end`, async () => {
    const path = putFile();
    const { port, outcomes } = serve(path, form);
    const socket = connect(form, port);
    socket.pause();
    await until("the socket is full", () => outcomes.includes("drain"));
    truncateSync(path, 1_000_000);
    socket.resume();
    const got = await take(socket);
    expect(got.length).toBeLessThan(size);
    expect(outcomes.at(-1)).toMatch(
      /^Error: send a file: it ends \d+ of 16000000 bytes too early$/,
    );
  });

  test(`${form}: a visitor who leaves leaves nothing behind`, async () => {
    const before = openDescriptors().size;
    const { port, outcomes } = serve(putFile(), form);
    const socket = connect(form, port);
    socket.pause();
    await until("the socket is full", () => outcomes.includes("drain"));
    socket.destroy();
    // The listener is open still.
    await until("the file is closed", () => openDescriptors().size <= before + 1);
  });
}

test("a file that the kernel cannot send is read and written", async () => {
  const { port, outcomes } = serve("/proc/self/limits", "plain", 0, 300);
  const got = await take(connect("plain", port));
  expect(got.subarray(5).toString()).toStartWith("Limit ");
  expect({ length: got.length, outcomes }).toEqual({ length: 305, outcomes: ["done"] });
});
