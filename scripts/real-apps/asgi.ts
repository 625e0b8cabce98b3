/** Real applications of ASGI: those of Debian. */
import type { RealApp } from "./real-app.ts";
import { contains, type Visitor } from "./visitor.ts";
import { newDjango, signInToDjango } from "./wsgi.ts";

/** Two visitors who hear what each says. */
async function chat(visitor: Visitor, path: string): Promise<void> {
  const one = await visitor.socket(path);
  const other = await visitor.another().socket(path);
  // What is said may only be heard by those whom the application has taken in.
  one.send("first");
  await one.next("first");
  other.send("hello from the other");
  await one.next("hello from the other");
  await other.next("hello from the other");
  one.close();
  other.close();
}

const fastApi: RealApp = {
  name: "FastAPI",
  type: "asgi",
  debian: ["python3-fastapi", "python3-multipart"],
  files: {
    "main.py": `
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel
app = FastAPI()

class Item(BaseModel):
    name: str
    price: float

@app.post("/items")
def add(item: Item):
    return {"name": item.name, "double": item.price * 2}

@app.post("/upload")
async def upload(file: UploadFile):
    return len(await file.read())
`,
  },
  tried: "JSON, upload, its documents",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.json("/items", { name: "pen", price: 1.5 }), '"double":3.0');
    await visitor.json("/items", {}, 422);
    contains(await visitor.page("/docs"), "/openapi.json");
    contains(await visitor.page("/openapi.json"), '"/upload"');
    await visitor.upload("/upload", 2_000_000);
  },
};

const starlette: RealApp = {
  name: "Starlette",
  type: "asgi",
  debian: ["python3-starlette", "python3-websockets"],
  files: {
    "asgi.py": `
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
visitors = set()

async def chat(websocket):
    await websocket.accept()
    visitors.add(websocket)
    try:
        async for text in websocket.iter_text():
            for each in list(visitors):
                await each.send_text(text)
    finally:
        visitors.discard(websocket)

async def numbers(request):
    async def each():
        for number in range(1000):
            yield f"{number},"
    return StreamingResponse(each())

app = Starlette(routes=[WebSocketRoute("/chat", chat), Route("/numbers", numbers)])
`,
  },
  tried: "WebSockets of two, stream",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/numbers"), "998,999,");
    await chat(visitor, "/chat");
  },
};

const channels: RealApp = {
  name: "Django with Channels",
  type: "asgi",
  debian: ["python3-django-channels", "python3-django"],
  build: `${newDjango}
cat >> mysite/settings.py <<'END'
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
END
cat > mysite/chat.py <<'END'
from channels.generic.websocket import AsyncWebsocketConsumer
class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("chat", self.channel_name)
        await self.accept()
    async def receive(self, text_data):
        user = self.scope["user"].username
        message = {"type": "said", "text": f"{user}: {text_data}"}
        await self.channel_layer.group_send("chat", message)
    async def said(self, event):
        await self.send(event["text"])
END
cat > mysite/asgi.py <<'END'
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django = get_asgi_application()
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path
from mysite.chat import Chat
sockets = AuthMiddlewareStack(URLRouter([path("chat", Chat.as_asgi())]))
application = ProtocolTypeRouter(
    {"http": django, "websocket": AllowedHostsOriginValidator(sockets)}
)
END
`,
  writable: ["data"],
  settings: ['app = "mysite.asgi:application"'],
  tried: "admin, WebSockets of two",
  drive: async (visitor) => {
    contains(await signInToDjango(visitor), "Site administration");
    await chat(visitor, "/chat");
    const socket = await visitor.socket("/chat");
    socket.send("who");
    await socket.next("admin: who");
    socket.close();
  },
};

const quart: RealApp = {
  name: "Quart",
  type: "asgi",
  debian: ["python3-quart"],
  files: {
    "app.py": `
from quart import Quart, request, session, websocket
app = Quart(__name__)
app.secret_key = "secret"

@app.route("/")
async def count():
    session["count"] = session.get("count", 0) + 1
    return f"visit {session['count']}"

@app.route("/upload", methods=["POST"])
async def upload():
    return str(len(await request.get_data()))

@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send(await websocket.receive())
`,
  },
  tried: "session, upload, WebSocket",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "visit 1");
    contains(await visitor.page("/"), "visit 2");
    const body = "x".repeat(2_000_000);
    contains(await visitor.page("/upload", { method: "POST", body }), "2000000");
    const socket = await visitor.socket("/echo");
    socket.send("hello");
    await socket.next("hello");
    socket.close();
  },
};

export const asgiApps: readonly RealApp[] = [channels, fastApi, starlette, quart];
