/** How much of requests' bodies may wait in memory. */
import { expect, test } from "bun:test";

import { SpoolAccount } from "../../src/gateway/bodies/spool-ledger.ts";
import { requestMemoryBytes } from "../../src/gateway/bodies/spool.ts";
import { Upload } from "../../src/gateway/bodies/upload.ts";

test("one that is passed on is full at its bound, in however many pieces, until some is sent", () => {
  for (const pieceBytes of [1, 7, 4096, requestMemoryBytes]) {
    const spool = { account: new SpoolAccount(0, 0) };
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
