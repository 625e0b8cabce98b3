/** Applications of the frameworks that people use, unchanged: those of Debian. */
import { beforeAll, describe, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { asgiRequest } from "./asgi-programs.ts";
import { nextAnswer } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, get, parseAnswer, writeApp } from "./support.ts";
import { WebSocketSession, webSocketRequest } from "./web-socket.ts";

const starlette = `
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

async def hello(request):
    return JSONResponse({"name": request.path_params["name"], "url": str(request.url)})

async def form(request):
    form = await request.form()
    return PlainTextResponse(form["field"] + ", " + (await form["file"].read()).decode())

async def size(request):
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return PlainTextResponse(str(total))

async def stream(request):
    async def numbers():
        for number in range(1000):
            yield f"{number},"
    return StreamingResponse(numbers(), background=BackgroundTask(print, "background"))

def threaded(request):
    import threading
    return PlainTextResponse(str(threading.current_thread() is threading.main_thread()))

async def socket(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text("you said " + text)

begun = []
async def begin():
    begun.append("begun")

routes = [
    Route("/hello/{name}", hello), Route("/form", form, methods=["POST"]),
    Route("/size", size, methods=["POST"]), Route("/stream", stream),
    Route("/source", lambda request: FileResponse(__file__)), Route("/threaded", threaded),
    Route("/begun", lambda request: PlainTextResponse(begun[0])),
    WebSocketRoute("/socket", socket),
]
app = Starlette(routes=routes, on_startup=[begin])
`;

const fastapi = `
from fastapi import FastAPI, File, Form, Request, UploadFile, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse

app = FastAPI()
begun = []

@app.on_event("startup")
async def begin():
    begun.append("begun")

@app.get("/hello/{name}")
async def hello(name: str, request: Request):
    return {"name": name, "url": str(request.url)}

@app.post("/form", response_class=PlainTextResponse)
async def form(field: str = Form(), file: UploadFile = File()):
    return field + ", " + (await file.read()).decode()

@app.post("/size", response_class=PlainTextResponse)
async def size(request: Request):
    return str(len(await request.body()))

@app.get("/stream")
def stream():
    return StreamingResponse(f"{number}," for number in range(1000))

@app.get("/source")
def source():
    return FileResponse(__file__)

@app.get("/threaded", response_class=PlainTextResponse)
def threaded():
    import threading
    return str(threading.current_thread() is threading.main_thread())

@app.get("/begun", response_class=PlainTextResponse)
async def is_begun():
    return begun[0]

@app.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text("you said " + text)
`;

const quart = `
from quart import Quart, request, send_file, websocket
app = Quart(__name__)
begun = []

@app.before_serving
async def begin():
    begun.append("begun")

@app.get("/hello/<name>")
async def hello(name):
    return {"name": name, "url": request.url}

@app.post("/form")
async def form():
    return (await request.form)["field"] + ", " + (await request.files)["file"].read().decode()

@app.post("/size")
async def size():
    return str(len(await request.get_data()))

@app.get("/stream")
async def stream():
    async def numbers():
        for number in range(1000):
            yield f"{number},".encode()
    return numbers()

@app.get("/source")
async def source():
    return await send_file(__file__)

@app.get("/threaded")
def threaded():
    import threading
    return str(threading.current_thread() is threading.main_thread())

@app.get("/begun")
async def is_begun():
    return begun[0]

@app.websocket("/socket")
async def socket():
    while True:
        await websocket.send("you said " + await websocket.receive())
`;

const channels = `
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="not so secret",
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
from django.core.asgi import get_asgi_application
django = get_asgi_application()
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

class Consumer(AsyncWebsocketConsumer):
    groups = ["everybody"]
    async def receive(self, text_data):
        message = {"type": "told", "text": "you said " + text_data}
        await self.channel_layer.group_send("everybody", message)
    async def told(self, event):
        await self.send(event["text"])

def hello(request, name):
    return JsonResponse({"name": name, "url": request.build_absolute_uri()})

def form(request):
    return HttpResponse(request.POST["field"] + ", " + request.FILES["file"].read().decode())

def threaded(request):
    import threading
    return HttpResponse(str(threading.current_thread() is threading.main_thread()))

urlpatterns = [
    path("hello/<name>", hello), path("form", form), path("threaded", threaded),
    path("size", lambda request: HttpResponse(str(len(request.body)))),
    path("stream", lambda request: StreamingHttpResponse(f"{n}," for n in range(1000))),
    path("source", lambda request: FileResponse(open(__file__, "rb"))),
    path("begun", lambda request: HttpResponse("begun")),
]
application = ProtocolTypeRouter({
    "http": django,
    "websocket": URLRouter([path("socket", Consumer.as_asgi())]),
})
`;

const numbers = Array.from({ length: 1000 }, (_, number) => `${number},`).join("");

const boundary = "----a-boundary";
const multipart = [
  `--${boundary}\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n`,
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n`,
  `Content-Type: text/plain\r\n\r\ncontent of a file\r\n--${boundary}--\r\n`,
].join("");

/** A request as front ends send it, for an application below `prefix`. */
function to(path: string, more: Readonly<Record<string, string>> = {}, prefix = ""): Uint8Array {
  const [pathInfo = "", query = ""] = path.split("?");
  const host = { HTTP_HOST: "app.test", SCRIPT_NAME: prefix, REMOTE_ADDR: "127.0.0.1" };
  const target = { REQUEST_URI: prefix + path, PATH_INFO: pathInfo, QUERY_STRING: query };
  return get({ ...host, ...target, ...more });
}

function upload(path: string, body: string, type: string): Uint8Array {
  const length = String(body.length);
  const more = { REQUEST_METHOD: "POST", CONTENT_TYPE: type, CONTENT_LENGTH: length };
  return Buffer.concat([to(path, more), Buffer.from(body)]);
}

describe.each([
  ["Starlette", starlette],
  ["FastAPI", fastapi],
  ["Quart", quart],
  ["Channels", channels],
])("%s", (name, source) => {
  const { directory, spawner, lines } = spawnerScene();
  let instance: Instance;

  beforeAll(async () => {
    const root = writeApp(directory, name, { "asgi.py": source });
    instance = await spawner.spawn(asgiRequest(root, { spawnMethod: "smart" }));
  });

  async function ask(bytes: Uint8Array) {
    return parseAnswer(await exchange(instance, bytes));
  }

  test("routes, at the root and below a prefix, and knows where it is", async () => {
    for (const prefix of ["", "/below"]) {
      const decoded = { PATH_INFO: "/hello/w\xc3\xb6rld" };
      const { status, body } = await ask(to("/hello/w%C3%B6rld?q=1", decoded, prefix));
      expect(status).toBe("Status: 200 OK");
      const text = Buffer.from(body, "latin1").toString();
      const { name: shown, url = "" } = JSON.parse(text) as Record<string, string>;
      expect(shown).toBe("wörld");
      // Quart has the prefix twice there, whoever serves it.
      const whole = name === "Quart" ? url.replace("/below/below", "/below") : url;
      expect(decodeURI(whole)).toBe(`http://app.test${prefix}/hello/wörld?q=1`);
    }
    expect((await ask(to("/nowhere"))).status).toBe("Status: 404 Not Found");
  });

  test("has begun before its first request", async () => {
    expect((await ask(to("/begun"))).body).toBe("begun");
  });

  test("takes a form with a file, and a body of a megabyte", async () => {
    const type = `multipart/form-data; boundary=${boundary}`;
    expect((await ask(upload("/form", multipart, type))).body).toBe("value, content of a file");
    const body = "x".repeat(1_000_000);
    expect((await ask(upload("/size", body, "text/plain"))).body).toBe("1000000");
  });

  test("streams, and sends files", async () => {
    expect((await ask(to("/stream"))).body).toBe(numbers);
    const file = await ask(to("/source"));
    expect(file.body).toBe(source);
    expect(file.headers.join("\n")).toMatch(new RegExp(`content-length: ${source.length}`, "i"));
  });

  test("runs what is no coroutine in a thread", async () => {
    expect((await ask(to("/threaded"))).body).toBe("False");
  });

  test("serves a kept session", async () => {
    using session = connected(instance);
    for (let count = 0; count < 3; count += 1) {
      await sendAll(session.number, to("/hello/you?q=2", { SESSION_KEEP: "1" }));
      expect((await nextAnswer(session)).body).toContain("you");
    }
  });

  test("speaks by WebSocket", async () => {
    const request = webSocketRequest("/socket", { PATH_INFO: "/socket" });
    using socket = await WebSocketSession.open(connected(instance), request);
    for (const text of ["one", "x".repeat(100_000)]) {
      await socket.send(text);
      expect(await socket.receive()).toBe(`you said ${text}`);
    }
    await socket.finish();
    expect(await socket.receive()).toBe("closed 1000");
  });

  test("has said nothing of errors", () => {
    expect(lines.filter((line) => /error|traceback/i.test(line))).toEqual([]);
  });
});

describe("asgiref", () => {
  const { directory, spawner } = spawnerScene();
  const started = (name: string, source: string) =>
    spawner.spawn(asgiRequest(writeApp(directory, name, { "asgi.py": source })));

  test("its adapter serves WSGI applications, bodies and streams included", async () => {
    const instance = await started(
      "adapted",
      `
from asgiref.wsgi import WsgiToAsgi
def wsgi(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("201 Made", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [b"read ", str(len(body)).encode()]
application = WsgiToAsgi(wsgi)
`,
    );
    const answer = parseAnswer(
      await exchange(instance, upload("/a", "x".repeat(200_000), "text/plain")),
    );
    expect(answer.status).toBe("Status: 201 Created");
    expect(answer.headers).toContain("x-path: /a");
    expect(answer.body).toBe("read 200000");
  });

  test("its types of scopes have the keys that are there, and its ASGI 2 adapter works", async () => {
    const instance = await started(
      "typed",
      `
import json
from asgiref import typing
from asgiref.compatibility import guarantee_single_callable
class Two:
    def __init__(self, scope):
        self.scope = scope
    async def __call__(self, receive, send):
        kinds = {"http": typing.HTTPScope, "websocket": typing.WebSocketScope}
        kind = kinds[self.scope["type"]]
        told = json.dumps(sorted(set(kind.__annotations__) ^ set(self.scope)))
        if self.scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return await send({"type": "websocket.send", "text": told})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": told.encode()})
application = guarantee_single_callable(Two)
`,
    );
    expect(parseAnswer(await exchange(instance, to("/"))).body).toBe('["state"]');
    using socket = await WebSocketSession.open(connected(instance), webSocketRequest("/"));
    expect(await socket.receive()).toBe('["state"]');
  });
});
