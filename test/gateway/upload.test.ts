/** A request's body that is passed on as it comes: how much of it may wait. */
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
