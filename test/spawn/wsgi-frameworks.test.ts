/** Applications of the frameworks that people use, unchanged: Flask and Django from Debian. */
import { beforeAll, describe, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { nextAnswer } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, writeApp } from "./support.ts";
import { wsgiRequest } from "./wsgi-programs.ts";

const flask = `
from flask import Flask, Response, jsonify, redirect, request, send_file, session
app = application = Flask(__name__)
app.secret_key = "not so secret"

@app.get("/hello/<name>")
def hello(name):
    return jsonify(name=name, query=request.args["q"], url=request.url)

@app.post("/form")
def form():
    session["seen"] = request.form["field"]
    return request.form["field"] + ", " + request.files["file"].read().decode()

@app.get("/seen")
def seen():
    return session["seen"]

@app.get("/stream")
def stream():
    return Response(str(number) + "," for number in range(1000))

@app.get("/away")
def away():
    return redirect("/hello/there")

@app.get("/source")
def source():
    return send_file(__file__)

@app.post("/size")
def size():
    return str(len(request.get_data()))
`;

const django = `
import os, sys
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="not so secret",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http import StreamingHttpResponse
from django.urls import path

def hello(request, name):
    return JsonResponse(
        {"name": name, "query": request.GET["q"], "url": request.build_absolute_uri()})

def form(request):
    request.session["seen"] = request.POST["field"]
    return HttpResponse(request.POST["field"] + ", " + request.FILES["file"].read().decode())

urlpatterns = [
    path("hello/<name>", hello),
    path("form", form),
    path("seen", lambda request: HttpResponse(request.session["seen"])),
    path("stream", lambda request: StreamingHttpResponse(f"{n}," for n in range(1000))),
    path("away", lambda request: HttpResponseRedirect("/hello/there")),
    path("source", lambda request: FileResponse(open(__file__, "rb"))),
    path("size", lambda request: HttpResponse(str(len(request.body)))),
]
application = get_wsgi_application()
`;

const numbers = Array.from({ length: 1000 }, (_, number) => `${number},`).join("");

const boundary = "----a-boundary";
const multipart = [
  `--${boundary}\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n`,
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n`,
  `Content-Type: text/plain\r\n\r\ncontent of a file\r\n--${boundary}--\r\n`,
].join("");

function to(path: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  const [pathInfo = "", query = ""] = path.split("?");
  const host = { HTTP_HOST: "app.test", SCRIPT_NAME: "", REMOTE_ADDR: "127.0.0.1" };
  return get({ ...host, REQUEST_URI: path, PATH_INFO: pathInfo, QUERY_STRING: query, ...more });
}

function upload(path: string, body: string, type: string): Uint8Array {
  const length = String(body.length);
  const more = { REQUEST_METHOD: "POST", CONTENT_TYPE: type, CONTENT_LENGTH: length };
  return Buffer.concat([to(path, more), Buffer.from(body)]);
}

describe.each([
  ["Flask", 1, flask],
  ["Flask", 4, flask],
  ["Django", 1, django],
  ["Django", 4, django],
] as const)("%s, threads: %d:", (name, threads, source) => {
  const { directory, spawner } = spawnerScene();
  let instance: Instance;

  beforeAll(async () => {
    const root = writeApp(directory, name, { "wsgi.py": source });
    instance = await spawner.spawn(wsgiRequest(root, { spawnMethod: "smart", threads }));
  });

  async function ask(bytes: Uint8Array) {
    return parseAnswer(await exchange(instance, bytes));
  }

  test("routes and answers with JSON", async () => {
    // PATH_INFO as front ends send it: decoded.
    const decoded = { PATH_INFO: "/hello/w\xc3\xb6rld" };
    const { status, headers, body } = await ask(to("/hello/w%C3%B6rld?q=1", decoded));
    expect(status).toBe("Status: 200 OK");
    expect(headers).toContain("Content-Type: application/json");
    const { name: shown, query, url } = JSON.parse(body) as Record<string, string>;
    expect([shown, query]).toEqual(["wörld", "1"]);
    expect(decodeURI(url ?? "")).toBe("http://app.test/hello/wörld?q=1");
  });

  test("takes a form with a file, and remembers it in a cookie", async () => {
    const type = `multipart/form-data; boundary=${boundary}`;
    const { headers, body } = await ask(upload("/form", multipart, type));
    expect(body).toBe("value, content of a file");
    const cookie = /^Set-Cookie: ([^;]+)/im.exec(headers.join("\n"))?.[1] ?? "";
    expect((await ask(to("/seen", { HTTP_COOKIE: cookie }))).body).toBe("value");
  });

  test("streams, redirects, sends files, misses", async () => {
    expect((await ask(to("/stream"))).body).toBe(numbers);
    const away = await ask(to("/away"));
    expect(away.status).toMatch(/^Status: 302 found$/i);
    expect(away.headers).toContain("Location: /hello/there");
    const file = await ask(to("/source"));
    expect(file.body).toBe(source);
    expect(file.headers).toContain(`Content-Length: ${source.length}`);
    expect((await ask(to("/nowhere"))).status).toMatch(/^Status: 404 /);
  });

  test("reads a body of a megabyte", async () => {
    const body = "x".repeat(1_000_000);
    expect((await ask(upload("/size", body, "text/plain"))).body).toBe("1000000");
  });

  test("serves a kept session", async () => {
    using session = connected(instance);
    for (let count = 0; count < 3; count += 1) {
      await sendAll(session.number, to("/hello/you?q=2", { SESSION_KEEP: "1" }));
      expect((await nextAnswer(session)).body).toContain('"you"');
    }
  });
});
