/** How much of requests' bodies may wait in memory. */
import { expect, test } from "bun:test";

import { SpoolAccount } from "../../src/gateway/bodies/spool-ledger.ts";
import { requestMemoryBytes } from "../../src/gateway/bodies/spool.ts";
import { Upload } from "../../src/gateway/bodies/upload.ts";

test("one that is passed on is full at its bound, in however many pieces, until some is sent", () => {
  for (const pieceBytes of [1, 7, 4096, requestMemoryBytes]) {
    const spool = { account: new SpoolAccount(1024 * 1024, 1024 * 1024) };
    const upload = new Upload({ maxBytes: 0, isBuffered: false, spool });
    const piece = new Uint8Array(pieceBytes);
    let pieces = 0;
    for (; !upload.isFull; pieces += 1) upload.add(piece);
    expect(pieces).toBe(Math.ceil(requestMemoryBytes / pieceBytes));
    for (let sent = 0; sent < pieceBytes; sent += 1) upload.skip(1);
    expect<boolean>(upload.isFull).toBe(false);
    while (upload.peek().length > 0) upload.skip(upload.peek().length);
    upload.end();
    expect(upload.isSent).toBe(true);
  }
});

test("what has come is sent as it came, again and again, from memory and a file", () => {
  const spool = { account: new SpoolAccount(256 * 1024, 1024 * 1024) };
  const upload = new Upload({ maxBytes: 0, isBuffered: true, spool });
  const pieces = [10, 20_000, 5, 5000, 30_000, 1, 70_000, 3].map((length, index) =>
    Buffer.alloc(length, index + 1),
  );
  for (const piece of pieces) upload.add(Buffer.from(piece));
  upload.end();
  expect(spool.account.diskBytes).toBe(70_003);
  for (const _ of [1, 2]) {
    const sent: Buffer[] = [];
    upload.rewind();
    while (!upload.isSent) {
      const piece = upload.peek().subarray(0, 17_000);
      sent.push(Buffer.from(piece));
      upload.skip(piece.length);
    }
    expect(Buffer.concat(sent).equals(Buffer.concat(pieces))).toBe(true);
  }
  upload.close();
});

test("what is kept of a buffered one counts, once, until it is closed", () => {
  const account = new SpoolAccount(16_000, 0);
  const uploads = [1, 2].map(
    () => new Upload({ maxBytes: 0, isBuffered: true, spool: { account } }),
  );
  const [first, second] = uploads;
  first?.add(new Uint8Array(6_000));
  expect(account.memoryBytes).toBe(6_000);
  expect(() => second?.add(new Uint8Array(12_000))).toThrow("the worker's spools are reached");
  first?.add(new Uint8Array(1_000));
  expect(account.memoryBytes).toBeLessThanOrEqual(16_000);
  for (const upload of uploads) upload.close();
  expect(account.memoryBytes).toBe(0);
});
