/** Real applications of WSGI: those of Debian. */
import { type RealApp, ROOT } from "./real-app.ts";
import { check, contains, type Visitor } from "./visitor.ts";

/** Makes a project of Django in which somebody can sign in. */
export const newDjango = `
django-admin startproject mysite .
cat >> mysite/settings.py <<'END'
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES["default"]["NAME"] = BASE_DIR / "data" / "db"
STATIC_ROOT = BASE_DIR / "static"
END
mkdir data
python3 manage.py migrate
export DJANGO_SUPERUSER_PASSWORD=secret DJANGO_SUPERUSER_USERNAME=admin
python3 manage.py createsuperuser --no-input --email ann@example.com
python3 manage.py collectstatic --no-input
`;

/** Signs in to Django's admin. @returns its first page. */
export async function signInToDjango(visitor: Visitor): Promise<string> {
  await visitor.page("/admin/login/");
  return visitor.form("/admin/login/?next=/admin/", {
    username: "admin",
    password: "secret",
    csrfmiddlewaretoken: visitor.cookie("csrftoken"),
  });
}

const django: RealApp = {
  name: "Django admin",
  type: "wsgi",
  debian: ["python3-django"],
  build: newDjango,
  writable: ["data"],
  settings: ['app = "mysite.wsgi:application"', 'static = [{ path = "/static", root = "static" }]'],
  tried: "sign in, add, style sheet",
  isQuick: true,
  drive: async (visitor) => {
    contains(await signInToDjango(visitor), "Site administration");
    const added = await visitor.form("/admin/auth/group/add/", {
      name: "painters",
      csrfmiddlewaretoken: visitor.cookie("csrftoken"),
    });
    contains(added, "painters");
    contains(await visitor.page("/static/admin/css/base.css"), "DJANGO Admin styles");
    await visitor.form("/admin/login/", {}).then(
      () => check(false, "a form without its token is refused"),
      (error: unknown) => contains(String(error), "403"),
    );
  },
};

const flask: RealApp = {
  name: "Flask",
  type: "wsgi",
  debian: ["python3-flask"],
  files: {
    "shop/__init__.py": "",
    "shop/web.py": `
from flask import Flask, Response, request, session
app = Flask(__name__)
app.secret_key = "secret"

@app.route("/")
def count():
    session["count"] = session.get("count", 0) + 1
    return f"visit {session['count']}"

@app.route("/upload", methods=["POST"])
def upload():
    return str(len(request.files["file"].read()))

@app.route("/numbers")
def numbers():
    return Response(f"{number}," for number in range(1000))
`,
  },
  settings: ['app = "shop.web"'],
  tried: "session, upload, stream",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "visit 1");
    contains(await visitor.page("/"), "visit 2");
    await visitor.upload("/upload", 900_000);
    contains(await visitor.page("/numbers"), "998,999,");
  },
};

/** A client of socket.io that polls, as its protocol has it (engine.io-protocol, version 4). */
export class PollingClient {
  readonly #visitor: Visitor;
  #sid = "";

  constructor(visitor: Visitor) {
    this.#visitor = visitor;
  }

  async open(): Promise<void> {
    const opened = await this.poll();
    this.#sid = (JSON.parse(opened.slice(1)) as { sid: string }).sid;
    await this.send("40");
    contains(await this.poll(), "40{");
  }

  async send(body: string): Promise<void> {
    const said = await this.#visitor.page(this.#path(), { method: "POST", body });
    contains(said.toLowerCase(), "ok");
  }

  poll(): Promise<string> {
    return this.#visitor.page(this.#path());
  }

  #path(): string {
    const sid = this.#sid === "" ? "" : `&sid=${this.#sid}`;
    return `/socket.io/?EIO=4&transport=polling${sid}`;
  }
}

const flaskSocketIo: RealApp = {
  name: "Flask-SocketIO",
  type: "wsgi",
  debian: ["python3-flask-socketio"],
  files: {
    "wsgi.py": `
from flask import Flask
from flask_socketio import SocketIO, emit
app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading")

@app.route("/")
def index():
    return "chat"

@socketio.on("say")
def say(text):
    emit("said", text, broadcast=True)
`,
  },
  settings: ["threads = 16", "max_instances = 1"],
  tried: "chat of two, by polling",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "chat");
    const [one, other] = [new PollingClient(visitor), new PollingClient(visitor.another())];
    await one.open();
    await other.open();
    const waits = other.poll();
    await one.send('42["say","hello"]');
    contains(await waits, '42["said","hello"]');
    contains(await one.poll(), '42["said","hello"]');
  },
};

const graphite: RealApp = {
  name: "Graphite",
  type: "wsgi",
  debian: ["graphite-web", "python3-whisper"],
  files: {
    "local_settings.py": `SECRET_KEY = "a secret of a real application"
CONF_DIR = "/etc/graphite"
STORAGE_DIR = WHISPER_DIR = "${ROOT}/data/whisper"
STATIC_ROOT = "/usr/share/graphite-web/static"
LOG_DIR = "${ROOT}/data"
INDEX_FILE = "${ROOT}/data/index"
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {"default": {"NAME": "${ROOT}/data/db", "ENGINE": "django.db.backends.sqlite3"}}
`,
  },
  build: `
mkdir -p data/whisper/shop
export GRAPHITE_SETTINGS_MODULE=local_settings PYTHONPATH=.
django-admin migrate --settings=graphite.settings --run-syncdb
python3 -c '
import time, whisper
whisper.create("data/whisper/shop/sold.wsp", [(1, 3600)])
now = int(time.time())
whisper.update_many("data/whisper/shop/sold.wsp", [(now - n, 7.0) for n in range(600)])'
`,
  writable: ["data"],
  settings: ['app = "graphite.wsgi:application"'],
  variables: ['GRAPHITE_SETTINGS_MODULE = "local_settings"'],
  tried: "find, data, a picture",
  drive: async (visitor) => {
    contains(await visitor.page("/metrics/find?query=*"), "shop");
    const query = "/render?target=shop.sold&from=-5min";
    contains(await visitor.page(`${query}&format=json`), "[7.0, ");
    const picture = await visitor.ask(`${query}&format=png`);
    check(picture.bytes.subarray(1, 4).toString() === "PNG", `a picture: ${picture.text}`);
    contains(await visitor.page("/dashboard/"), "Graphite Dashboard");
  },
};

const event = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//trial//EN
BEGIN:VEVENT
UID:one@trial
DTSTAMP:20260101T000000Z
DTSTART:20260102T100000Z
SUMMARY:It is a trial
END:VEVENT
END:VCALENDAR
`.replaceAll("\n", "\r\n");

const report = `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/><C:calendar-data/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"/></C:filter></C:calendar-query>`;

const radicale: RealApp = {
  name: "Radicale",
  type: "wsgi",
  debian: ["radicale"],
  files: {
    config: `[auth]
type = htpasswd
htpasswd_filename = ${ROOT}/users
htpasswd_encryption = plain
[storage]
filesystem_folder = ${ROOT}/data
`,
    users: "ann:secret\n",
  },
  writable: ["data"],
  settings: ['app = "radicale:application"'],
  variables: [`RADICALE_CONFIG = "${ROOT}/config"`],
  tried: "calendar: make, fill, ask",
  drive: async (visitor) => {
    await visitor.page("/ann/", { method: "PROPFIND" }, 401);
    const headers = { authorization: `Basic ${btoa("ann:secret")}` };
    await visitor.page("/ann/tasks/", { method: "MKCALENDAR", headers }, 201);
    await visitor.page("/ann/tasks/one.ics", { method: "PUT", headers, body: event }, 201);
    const asked = { method: "REPORT", headers: { ...headers, depth: "1" }, body: report };
    contains(await visitor.page("/ann/tasks/", asked, 207), "It is a trial");
    contains(await visitor.page("/.web/", { headers }), "Radicale");
  },
};

const hgweb: RealApp = {
  name: "hgweb",
  type: "wsgi",
  debian: ["mercurial"],
  files: {
    "hgweb.config": `[paths]\n/ = ${ROOT}/repositories/*\n[web]\nallow_push = *\npush_ssl = no\n`,
  },
  build: `
cp /usr/share/doc/mercurial-common/examples/hgweb.wsgi .
sed -i 's|/path/to/repo/or/config|${ROOT}/hgweb.config|' hgweb.wsgi
mkdir repositories
hg init repositories/shop
`,
  writable: ["repositories"],
  settings: ['startup_file = "hgweb.wsgi"'],
  tried: "push of 2 MB, clone",
  drive: async (visitor) => {
    contains(await visitor.page("/"), "shop");
    const script = `
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
hg clone -q "$0/shop" one
head -c 2000000 /dev/urandom > one/random
cp one/random .
hg -R one commit -q -A -m "It is a trial" -u ann
hg -R one push -q "$0/shop"
hg clone -q "$0/shop" two
cmp random two/random`;
    const argv = ["timeout", "60", "/bin/sh", "-ec", script, visitor.url];
    await using child = Bun.spawn(argv, {
      env: { PATH: "/usr/bin:/bin", HOME: "/nonexistent", HGRCPATH: "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const said = await child.stderr.text();
    check((await child.exited) === 0, `hg says: ${said}`);
    contains(await visitor.page("/shop/shortlog"), "It is a trial");
  },
};

export const wsgiApps: readonly RealApp[] = [
  graphite,
  radicale,
  hgweb,
  django,
  flask,
  flaskSocketIo,
];
