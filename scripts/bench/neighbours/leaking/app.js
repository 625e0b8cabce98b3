// Keeps a mebibyte of each request for ever.
const http = require("node:http");

const kept = [];
http
  .createServer((_, response) => {
    kept.push(Buffer.alloc(1_048_576, "x"));
    response.end("ok\n");
  })
  .listen(3000);
