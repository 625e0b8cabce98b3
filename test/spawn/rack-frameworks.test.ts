/** Applications of frameworks that nobody here wrote, as their users write them. */
import { beforeAll, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { readExactly, sendAll } from "../helpers/raw-client.ts";
import { ask, rackScene, to } from "./rack-scene.ts";
import { connected, post } from "./support.ts";

const { start } = rackScene();

const sinatra = {
  "config.ru": 'require_relative "app"\nrun Sinatra::Application\n',
  "app.rb": `require "sinatra"
set :environment, ENV["RACK_ENV"].to_sym
get("/hello/:name") { "Hello #{params["name"]} from #{settings.environment}" }
post("/form") { "got #{params["a"]}, #{params["file"] && params["file"]["tempfile"].read.length}" }
get("/stream") { stream { |out| 3.times { |n| out << "piece #{n} " } } }
get("/fail") { raise "no luck" }
get("/go") { redirect to("/hello/there") }
get("/download") { send_file "app.rb" }
`,
};

const rails = {
  "config.ru": `require "action_controller/railtie"
class Small < Rails::Application
  config.eager_load = true
  config.consider_all_requests_local = false
  config.secret_key_base = "not a secret"
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.log_level = :warn
  routes.append do
    get "/hello/:name", to: "greetings#show"
    post "/form", to: "greetings#create"
    get "/live", to: "greetings#live"
    get "/fail", to: "greetings#fail"
  end
end
class GreetingsController < ActionController::Base
  include ActionController::Live
  def show
    session[:seen] = true
    render json: { name: params[:name], env: Rails.env, ip: request.remote_ip, url: request.url }
  end
  def create
    render plain: "got #{params[:a]} of #{request.raw_post.bytesize} bytes"
  end
  def live
    3.times { |n| response.stream.write("piece #{n} ") }
  ensure
    response.stream.close
  end
  def fail
    raise "no luck"
  end
end
Small.initialize!
run Small
`,
};

const cable = {
  "config.ru": `require "action_controller/railtie"
require "action_cable/engine"
class Small < Rails::Application
  config.eager_load = true
  config.secret_key_base = "not a secret"
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.log_level = :warn
  config.action_cable.disable_request_forgery_protection = true
  config.action_cable.mount_path = "/cable"
end
class Echo < ActionCable::Channel::Base
  def subscribed
    stream_from "all"
  end
  def say(data)
    ActionCable.server.broadcast("all", { said: data["what"] })
  end
end
Small.initialize!
ActionCable.server.config.cable = { "adapter" => "async" }
ActionCable.server.config.connection_class = -> { ActionCable::Connection::Base }
run Small
`,
};

const bundled = {
  Gemfile: 'source "https://gems.invalid"\ngem "rack"\ngem "mine", path: "mine"\n',
  "mine/mine.gemspec": `Gem::Specification.new do |gem|
  gem.name, gem.version, gem.summary, gem.authors = "mine", "1.2.3", "mine", ["me"]
  gem.files = ["lib/mine.rb"]
end
`,
  "mine/lib/mine.rb": 'module Mine; SAYS = "from the bundle"; end\n',
  "config.ru": `require "mine"
run lambda { |env|
  outside = begin; require "sinatra"; "seen"; rescue LoadError; "hidden"; end
  child = \`ruby -e 'require "mine"; print Mine::SAYS'\`
  [200, {}, [[Mine::SAYS, child, Gem.loaded_specs["mine"].version, outside].join("|")]]
}
`,
};

const threads = [1, 4] as const;
const apps = new Map<string, Instance>();

beforeAll(async () => {
  const smart = { spawnMethod: "smart" } as const;
  for (const number of threads) {
    const settings = { ...smart, threads: number };
    const [first, second] = await Promise.all([
      start(`sinatra-${number}`, sinatra, settings),
      start(`rails-${number}`, rails, { ...settings, appType: "rails" }),
    ]);
    apps.set(`sinatra-${number}`, first).set(`rails-${number}`, second);
  }
});

function app(name: string): Instance {
  const instance = apps.get(name);
  if (instance === undefined) throw new Error(`there is no ${name}`);
  return instance;
}

const form = (body: string, type: string) =>
  post(body, { REQUEST_URI: "/form", CONTENT_TYPE: type, HTTP_HOST: "app.test" });

const upload = [
  "--xyz",
  'content-disposition: form-data; name="a"',
  "",
  "1",
  "--xyz",
  'content-disposition: form-data; name="file"; filename="f"',
  "",
  "x".repeat(300_000),
  "--xyz--",
  "",
].join("\r\n");

test.each(threads)(
  "Sinatra, threads: %d: routes, forms, uploads, streams, errors",
  async (number) => {
    const instance = app(`sinatra-${number}`);
    expect((await ask(instance, to("/hello/you%20there"))).body).toBe(
      "Hello you there from production",
    );
    expect((await ask(instance, form("a=b%26c", "application/x-www-form-urlencoded"))).body).toBe(
      "got b&c, ",
    );
    const { body } = await ask(instance, form(upload, "multipart/form-data; boundary=xyz"));
    expect(body).toBe("got 1, 300000");
    expect((await ask(instance, to("/stream"))).body).toBe("piece 0 piece 1 piece 2 ");
    expect((await ask(instance, to("/fail"))).status).toBe("Status: 500 Internal Server Error");
    expect((await ask(instance, to("/download"))).body).toBe(sinatra["app.rb"]);
    const { status, headers } = await ask(
      instance,
      to("/go", { HTTP_HOST: "app.test", HTTPS: "on" }),
    );
    expect(status).toBe("Status: 302 Found");
    expect(headers).toContain("Location: https://app.test/hello/there");
    expect((await ask(instance, to("/nowhere"))).status).toBe("Status: 404 Not Found");
  },
);

test.each(threads)(
  "Rails, threads: %d: routes, JSON, sessions, streams, errors",
  async (number) => {
    const instance = app(`rails-${number}`);
    const host = { HTTP_HOST: "app.test", REMOTE_ADDR: "192.0.2.7" };
    const { status, headers, body } = await ask(instance, to("/hello/you?x=1", host));
    expect(status).toBe("Status: 200 OK");
    expect(JSON.parse(body)).toEqual({
      name: "you",
      env: "production",
      ip: "192.0.2.7",
      url: "http://app.test/hello/you?x=1",
    });
    expect(headers.some((line) => /^set-cookie: _\w*session=/i.test(line))).toBe(true);
    const posted = await ask(instance, form("a=b", "application/x-www-form-urlencoded"));
    expect(posted.body).toBe("got b of 3 bytes");
    expect((await ask(instance, to("/live", host))).body).toBe("piece 0 piece 1 piece 2 ");
    expect((await ask(instance, to("/fail", host))).status).toBe(
      "Status: 500 Internal Server Error",
    );
    expect((await ask(instance, to("/nowhere", host))).status).toBe("Status: 404 Not Found");
  },
);

test("a bundle: its gems and no others, in the children of the application too", async () => {
  const instance = await start("bundled", bundled, { spawnMethod: "smart" });
  expect((await ask(instance, to("/"))).body).toBe("from the bundle|from the bundle|1.2.3|hidden");
});

/** A text frame as browsers send it (RFC 6455, 5.2), with a mask of zeros. */
function textFrame(value: object): Uint8Array {
  const text = Buffer.from(JSON.stringify(value));
  const length = text.length < 126 ? [text.length] : [126, text.length >> 8, text.length & 255];
  const [first = 0, ...more] = length;
  return Buffer.concat([Buffer.from([0x81, 0x80 | first, ...more, 0, 0, 0, 0]), text]);
}

test("ActionCable: subscribes and broadcasts over a WebSocket, and requests are served beside it", async () => {
  const instance = await start("cable", cable);
  using session = connected(instance);
  const handshake = to("/cable", {
    HTTP_HOST: "example.com",
    HTTP_UPGRADE: "websocket",
    HTTP_CONNECTION: "Upgrade",
    HTTP_SEC_WEBSOCKET_KEY: "dGhlIHNhbXBsZSBub25jZQ==",
    HTTP_SEC_WEBSOCKET_VERSION: "13",
    HTTP_SEC_WEBSOCKET_PROTOCOL: "actioncable-v1-json",
    SESSION_KEEP: "1",
  });
  await sendAll(session.number, handshake);
  let heard = "";
  const hears = async (text: string) => {
    while (!heard.includes(text)) heard += await readExactly(session.number, 1);
  };
  await hears("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
  expect(heard).toStartWith("HTTP/1.1 101 Switching Protocols\r\n");
  await hears('{"type":"welcome"}');
  const identifier = JSON.stringify({ channel: "Echo" });
  await sendAll(session.number, textFrame({ command: "subscribe", identifier }));
  await hears("confirm_subscription");
  expect((await ask(instance, to("/none"))).status).toStartWith("Status: 404");
  const data = JSON.stringify({ action: "say", what: "to all" });
  await sendAll(session.number, textFrame({ command: "message", identifier, data }));
  await hears('"message":{"said":"to all"}');
});
