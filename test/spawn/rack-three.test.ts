/**
 * What the loader does differently with Rack 3. Debian 12 has only Rack 2, so the Rack of this
 * bundle is a stand-in with the parts of Rack 3 that the loader uses: it shows which way the loader
 * goes, not what Rack itself does.
 */
import { beforeAll, expect, test } from "bun:test";

import type { Instance } from "../../src/spawn/spawner.ts";
import { ask, rackScene, to } from "./rack-scene.ts";
import { post } from "./support.ts";

const { start, isTold } = rackScene();
let instance: Instance;

const standIn = `
module Rack
  module Utils
    HTTP_STATUS_CODES = { 200 => "OK", 500 => "Internal Server Error" }.freeze
  end
  class Builder
    attr_reader :app
    def self.parse_file(path)
      new.tap { |builder| builder.instance_eval(File.read(path), path) }.app
    end
    def run(app)
      @app = app
    end
  end
  def self.release
    "3.1.0"
  end
end
`;

const source = `
$closed = 0
class Whole
  def initialize(*parts)
    @parts = parts
  end
  def to_ary
    close
    @parts
  end
  def each
    raise "each was called, although there is to_ary"
  end
  def close
    $closed += 1
  end
end
run lambda { |env|
  case env["PATH_INFO"]
  when "/input"
    input = env["rack.input"]
    text = input.read(3) + "|" + input.gets + "|" + input.read
    [200, {}, [text.length.to_s, " ", input.respond_to?(:rewind).to_s]]
  when "/arrays" then [200, { "set-cookie" => ["a=1", "b=2"] }, ["x"]]
  when "/line-end" then [200, { "x-a" => "1\\n2" }, ["x"]]
  when "/whole" then [200, {}, Whole.new("a", "b")]
  when "/closed" then [200, {}, [$closed.to_s]]
  when "/streaming" then [200, {}, lambda { |stream| stream.write("streamed"); stream.close }]
  end
}
`;

beforeAll(async () => {
  instance = await start("app", {
    Gemfile: 'source "https://gems.invalid"\ngem "rack", path: "rack"\n',
    "rack/rack.gemspec": `Gem::Specification.new do |gem|
      gem.name, gem.version, gem.summary, gem.authors = "rack", "3.1.0", "stand-in", ["me"]
    end`,
    "rack/lib/rack.rb": standIn,
    "config.ru": source,
  });
});

test("keeps nothing of a body, which cannot be rewound", async () => {
  const text = `abc${"x".repeat(200_000)}\nrest`;
  const { body } = await ask(instance, post(text, { REQUEST_URI: "/input" }));
  expect(body).toBe(`${text.length + 2} false`);
});

test("takes arrays for repeated headers, and no line ends", async () => {
  const { headers } = await ask(instance, to("/arrays"));
  expect(headers).toEqual(["set-cookie: a=1", "set-cookie: b=2", "content-length: 1"]);
  expect((await ask(instance, to("/line-end"))).status).toBe("Status: 500 Internal Server Error");
  await isTold("the value of the header x-a would begin another line");
});

test("leaves closing to to_ary", async () => {
  const { headers, body } = await ask(instance, to("/whole"));
  expect(headers).toEqual(["content-length: 2"]);
  expect(body).toBe("ab");
  expect((await ask(instance, to("/closed"))).body).toBe("1");
});

test("gives the socket to a streaming body", async () => {
  expect((await ask(instance, to("/streaming"))).body).toBe("streamed");
});
