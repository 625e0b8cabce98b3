// A bad tenant: what it does is the last part of the path.
const http = require("node:http");
const { deed } = require("../deeds.cjs");

http
  .createServer(async (request, response) => {
    await deed(request.url);
    response.writeHead(200, { "content-type": "text/plain", "content-length": 3 });
    response.end("ok\n");
  })
  .listen(3000);
