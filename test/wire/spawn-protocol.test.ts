/** What a 2.0 spawn server is told and what it answers, by the bytes. */

import { expect, test } from "bun:test";
import type { AppRequest } from "../../src/wire/app-request.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { ProtocolError } from "../../src/wire/protocol-error.ts";
import { encodeErrorPage } from "../../src/wire/instance-protocol.ts";
import {
  encodeReload,
  encodeSpawnApplication,
  parseSpawnAnswer,
  parseSpawnedInstance,
} from "../../src/wire/spawn-protocol.ts";
import { b, bytes, cutEverywhere, literal } from "./support.ts";
import {
  encodeSpawnedInstance,
  encodeSpawnOk,
  parseSpawnServerCommand,
} from "../helpers/peer-messages.ts";

const app: AppRequest = {
  root: b("/\xff"),
  lowerPrivilege: false,
  lowestUser: b("nobody"),
  environment: b("development"),
  spawnMethod: "conservative",
  appType: "wsgi",
};
const spawnFrame =
  "\0\x40spawn_application\0/\xff\0false\0nobody\0development\0conservative\0wsgi\0";

test("spawn_application is written, and read cut at any byte", () => {
  expect(literal(encodeSpawnApplication(app))).toBe(spawnFrame);
  cutEverywhere(bytes(spawnFrame), (first, second) => {
    const decoder = new Decoder();
    decoder.push(first);
    decoder.keepRest();
    decoder.push(second);
    expect(parseSpawnServerCommand(decoder.nextArray() ?? [])).toEqual({
      kind: "spawn_application",
      app,
    });
  });
});

test("reload is written and read", () => {
  expect(literal(encodeReload(b("/\xff")))).toBe("\0\x0areload\0/\xff\0");
  expect(parseSpawnServerCommand([b("reload"), b("/\xff")])).toEqual({
    kind: "reload",
    root: b("/\xff"),
  });
});

test.each([[["reload"]], [["reload", "/a", "b"]], [["spawn_application", "/a"]], [["exit"]]])(
  "%j is no command of a spawn server",
  (elements) => {
    expect(() => parseSpawnServerCommand(elements.map(b))).toThrow(ProtocolError);
  },
);

test("an answer is ok, then the instance; or error_page, then the page", () => {
  const answer = Buffer.concat([
    encodeSpawnOk(),
    encodeSpawnedInstance({ pid: 77, socketName: b("/tmp/s\xff"), abstract: false }),
    encodeErrorPage(bytes("<p>")),
  ]);
  expect(literal(answer)).toBe(
    "\0\x03ok\0\0\x1177\0/tmp/s\xff\0false\0\0\x0berror_page\0\0\0\0\x03<p>",
  );
  cutEverywhere(answer, (first, second) => {
    const decoder = new Decoder();
    decoder.push(first);
    decoder.keepRest();
    decoder.push(second);
    expect(parseSpawnAnswer(decoder.nextArray() ?? [])).toBe("ok");
    expect(parseSpawnedInstance(decoder.nextArray() ?? [])).toEqual({
      pid: 77,
      socketName: b("/tmp/s\xff"),
      abstract: false,
    });
    expect(parseSpawnAnswer(decoder.nextArray() ?? [])).toBe("error_page");
    expect(literal(decoder.nextScalar(3))).toBe("<p>");
  });
});

test.each([[["ok", "1"]], [["error_page", ""]], [["OK"]], [[""]], [["Exception", "x"]]])(
  "%j is no answer of a spawn server",
  (elements) => {
    expect(() => parseSpawnAnswer(elements.map(b))).toThrow(ProtocolError);
  },
);

test("an abstract socket name is taken as it is, up to 107 bytes", () => {
  const name = b("\x01".repeat(107));
  expect(parseSpawnedInstance([b("1"), name, b("true")])).toEqual({
    pid: 1,
    socketName: name,
    abstract: true,
  });
});

test.each([
  [["0", "/s", "false"], "pid is 0, not from 1 to 4194304"],
  [["-5", "/s", "false"], "pid is -5"],
  [["4194305", "/s", "false"], "pid is 4194305"],
  [["1x", "/s", "false"], "pid is '1x', not a number"],
  [["", "/s", "false"], "pid is '', not a number"],
  [["1", "", "false"], "socket name '' is not 1 to 107 bytes long"],
  [["1", "x".repeat(108), "true"], "is not 1 to 107 bytes long"],
  [["1", "/s", "no"], "abstract is 'no', neither 'true' nor 'false'"],
  [["1", "/s"], "'1' with 2 elements is none"],
  [["1", "/s", "true", ""], "'1' with 4 elements is none"],
])("the instance %j is refused", (elements, message) => {
  expect(() => parseSpawnedInstance(elements.map(b))).toThrow(message);
  expect(() => parseSpawnedInstance(elements.map(b))).toThrow(ProtocolError);
});
