/** What gets in these tests ask for, which the pool never looks at: told apart by a word. */
import type { AppRequest } from "../../src/wire/app-request.ts";
import { ascii } from "../../src/wire/bytes.ts";

export function requestOf(word: string): AppRequest {
  return {
    root: ascii("/a"),
    lowerPrivilege: false,
    lowestUser: ascii(""),
    environment: ascii(word),
    spawnMethod: "smart",
    appType: "rack",
  };
}
