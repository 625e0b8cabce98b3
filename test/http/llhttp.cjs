// What llhttp, the parser in Node, makes of bytes: reads one JSON object a line, { bytes } in
// base64, and answers each with one: { requests, error }. The binding is what Node's own http uses.
const { createInterface } = require("node:readline");
const { HTTPParser, methods, allMethods } = process.binding("http_parser");

const maxHeadBytes = 16 * 1024;

/** @returns the requests that came whole, in their order, and why nothing more was read. */
function read(bytes) {
  const parser = new HTTPParser();
  const requests = [];
  let head = null;
  let headers = [];
  let body = [];
  parser.initialize(HTTPParser.REQUEST, {}, maxHeadBytes, 0);
  // More headers than it hands out at once come here first, with the target; and trailers.
  let early = "";
  parser[HTTPParser.kOnHeaders | 0] = (more, target) => {
    if (head === null) headers.push(...more);
    early += target;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, rest, method, target) => {
    headers.push(...(rest ?? []));
    const name = (allMethods ?? methods)[method];
    head = { method: name, url: target || early, minor, rawHeaders: headers };
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (part) => void body.push(Buffer.from(part));
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    requests.push({ ...head, body: Buffer.concat(body).toString("latin1") });
    [head, headers, body, early] = [null, [], [], ""];
  };
  let result = parser.execute(bytes);
  if (typeof result === "number" && result === bytes.length) result = parser.finish();
  return { requests, error: result instanceof Error ? result.code : null };
}

void (async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    const { bytes } = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(read(Buffer.from(bytes, "base64")))}\n`);
  }
})();
