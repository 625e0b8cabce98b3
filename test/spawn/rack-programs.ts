/** Programs for the tests of the rack loader, as the text of their config.ru. */

/** Behind Rack's own checker; the path chooses what it does. */
export const application = `
require "json"
$closed = 0
class Pieces
  def initialize(*pieces, &failing)
    @pieces, @failing = pieces, failing
  end
  def each
    @pieces.each { |piece| yield piece }
    @failing&.call
  end
  def close
    $closed += 1
  end
end
text = { "Content-Type" => "text/plain" }
paths = {
  "/env" => lambda { |env|
    shown = env.select { |name, value| value.is_a?(String) || [true, false].include?(value) }
    [200, { "Content-Type" => "application/json" }, [JSON.generate(shown)]]
  },
  "/echo" => lambda { |env| [200, text, [env["rack.input"].read]] },
  "/lines" => lambda { |env|
    lines = []
    env["rack.input"].each { |line| lines << line }
    env["rack.input"].rewind
    first = env["rack.input"].gets
    rest = env["rack.input"].read
    [200, text, [JSON.generate([lines.length, lines.last, first.length, rest.length])]]
  },
  "/count" => lambda { |env|
    bytes = 0
    while (piece = env["rack.input"].read(50_000))
      bytes += piece.bytesize
    end
    [200, text, [bytes.to_s]]
  },
  "/memory" => lambda { |env|
    buffer = String.new
    nil while env["rack.input"].read(100_000, buffer)
    [200, text, [File.read("/proc/self/status")[/VmHWM:\\s*(\\d+)/, 1]]]
  },
  "/cookies" => lambda { |env|
    [201, text.merge("Set-Cookie" => "a=1\\nb=2", "X-One" => "1"), ["x"]]
  },
  "/big" => lambda { |env| [200, text, ["x" * 5_000_000]] },
  "/pieces" => lambda { |env| [200, text, Pieces.new("one ", "", "t\\u00ebxt ", "\\xff".b)] },
  "/many" => lambda { |env| [200, text, ["a", "\\u00eb", "\\xff".b]] },
  "/failing-piece" => lambda { |env| [200, text, Pieces.new("begin") { raise "stream broke" }] },
  "/failing-first" => lambda { |env| [200, text, Pieces.new { raise "first broke" }] },
  "/endless" => lambda { |env|
    [200, text, Pieces.new { raise "not reached" }.tap { |body|
      def body.each
        loop { yield "x" * 10_000 }
      end
    }]
  },
  "/none" => lambda { |env| [204, {}, []] },
  "/not-modified" => lambda { |env| [304, { "ETag" => '"1"' }, []] },
  "/ignore" => lambda { |env| [200, text, ["did not read"]] },
  "/raise" => lambda { |env| raise ArgumentError, "raised <here>" },
  "/throw" => lambda { |env| throw :nobody },
  "/overflow" => lambda { |env| deep = lambda { deep.call }; deep.call },
  "/closed" => lambda { |env| [200, text, [$closed.to_s]] },
  "/child" => lambda { |env|
    [200, text, [\`ls /proc/self/fd; trap '' USR2; grep -E 'SigIgn|SigBlk' /proc/self/status\`]]
  },
  "/fork" => lambda { |env|
    reader, writer = IO.pipe
    child = fork do
      reader.close
      writer.puts(\`ls -l /proc/#{Process.pid}/fd\`)
      writer.close
      sleep
    end
    writer.close
    shown = reader.read
    Process.detach(child)
    at_exit { Process.kill(:KILL, child) }
    [200, text, [shown]]
  },
  "/fork-returns" => lambda { |env|
    child = fork or next [200, text, ["from the child"]]
    [200, text, [Process.wait2(child).last.exitstatus.to_s]]
  },
  "/sleep" => lambda { |env| sleep(0.2); [200, text, ["slept"]] }
}
use Rack::Lint
run lambda { |env|
  answer = paths[env["PATH_INFO"]]
  answer ? answer.call(env) : [404, text, ["no"]]
}
`;

/** Without the checker, for what it would not let through or take away. */
export const unchecked = `
class OnDisk < Struct.new(:to_path)
  def each
    yield "by each"
  end
end
text = { "content-type" => "text/plain" }
paths = {
  "/arrays" => lambda { |env| [200, { "set-cookie" => ["a=1", "b=2"] }, ["x"]] },
  "/line-end" => lambda { |env| [200, { "x-a" => "1\\r\\nx-b: 2" }, ["x"]] },
  "/nul" => lambda { |env| [200, { "x-a" => "1\\0" }, ["x"]] },
  "/name" => lambda { |env| [200, { "x-a: 1\\r\\nx-b" => "2" }, ["x"]] },
  "/nil" => lambda { |env| nil },
  "/status" => lambda { |env| [0, {}, []] },
  "/connection" => lambda { |env| [200, { "Connection" => "close", "Status" => "1" }, ["x"]] },
  "/too-long" => lambda { |env| [200, { "content-length" => "2" }, ["abc"]] },
  "/too-short" => lambda { |env| [200, { "content-length" => "5" }, ["abc"]] },
  "/chunks" => lambda { |env|
    chunks = ["3\\r\\nabc\\r", "\\n2\\r\\nde\\r\\n0\\r\\n\\r\\n"]
    [200, { "transfer-encoding" => "chunked" }, chunks]
  },
  "/head-with-body" => lambda { |env| [200, text, ["never sent"]] },
  "/exit" => lambda { |env| at_exit { puts "at_exit ran" }; exit 3 },
  "/proxy" => lambda { |env| [200, text, [env.key?("HTTP_PROXY").to_s]] },
  "/file" => lambda { |env| [200, text, OnDisk.new("#{__dir__}/file.txt")] },
  "/open-file" => lambda { |env|
    File.write("opened.txt", "the first of this name")
    file = File.open("opened.txt")
    file.seek(4)
    File.write("other.txt", "another file, which is longer")
    File.rename("other.txt", "opened.txt")
    [200, text, env["QUERY_STRING"] == "wrapped" ? Rack::BodyProxy.new(file) { } : file]
  },
  "/flush" => lambda { |env|
    [200, text, Enumerator.new { |out|
      out << ""
      sleep 0.01 until File.exist?("go-on")
      out << "at last"
    }]
  },
  "/early" => lambda { |env|
    [200, {}, Enumerator.new { |out| out << "early "; out << env["rack.input"].read }]
  },
  "/answer" => lambda { |env|
    code, *headers = env["QUERY_STRING"].split("&")
    [code.to_i, headers.to_h { |header| header.split("=") }, ["body"]]
  },
  "/upload" => lambda { |env|
    require "digest"
    Encoding.default_internal = Encoding::UTF_8
    input = env["rack.input"]
    parts = [input.read(100_000), input.gets, input.read].join
    input.rewind
    whole = input.read
    same = parts == whole && whole.encoding == Encoding::BINARY
    [200, text, [Digest::SHA256.hexdigest(whole), " ", same.to_s, " ", input.gets.inspect]]
  },
  "/no-file" => lambda { |env| [200, text, OnDisk.new("#{__dir__}/none.txt")] },
  "/streaming" => lambda { |env|
    [200, text, lambda { |stream| stream.write("from "); stream << "call"; stream.close }]
  },
  "/partial" => lambda { |env|
    [200, text.merge("rack.hijack" => lambda { |io| io.write("hijacked"); io.close }), []]
  },
  "/full" => lambda { |env|
    io = env["rack.hijack"].call
    io.write("Status: 200 OK\\r\\n\\r\\nI say #{io.read(3)}")
    io.close
    [500, {}, ["ignored"]]
  },
  "/pid" => lambda { |env| [200, text, ["#{Process.pid} #{rand} #{Process.getpgrp}"]] }
}
run lambda { |env| (paths[env["PATH_INFO"]] || paths["/pid"]).call(env) }
`;
