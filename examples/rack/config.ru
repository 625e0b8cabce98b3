# A small application in plain Rack: no framework, no gem beside rack. It shows what an application
# gets from the server: it is loaded once and forked, every instance counts for itself, an answer
# can be streamed, and an upload is read as it comes in.
#
#     curl localhost:8080/                      which process answers, its request number
#     curl -N localhost:8080/slowly             ten lines, a tenth of a second apart
#     curl -T some-file localhost:8080/upload   its size and SHA-256, whatever its size
# frozen_string_literal: true

require "digest"

# A body that is sent piece by piece, each when it is yielded.
class Slowly
  def each
    10.times do |n|
      sleep 0.1
      yield "line #{n + 1} from process #{Process.pid}\n"
    end
  end
end

class Application
  TEXT = { "content-type" => "text/plain" }.freeze

  def initialize
    @loaded_by = Process.pid
    @served = 0
  end

  def call(env)
    @served += 1
    case [env["REQUEST_METHOD"], env["PATH_INFO"]]
    when ["GET", "/"] then [200, TEXT.dup, [greeting]]
    when ["GET", "/slowly"] then [200, TEXT.dup, Slowly.new]
    when ["PUT", "/upload"], ["POST", "/upload"] then [200, TEXT.dup, [measured(env["rack.input"])]]
    else [404, TEXT.dup, ["There is nothing here.\n"]]
    end
  end

  private

  def greeting
    "Process #{Process.pid}, loaded by process #{@loaded_by}, answered in #{ENV["RACK_ENV"]}, " \
      "its request number #{@served}.\n"
  end

  def measured(input)
    digest = Digest::SHA256.new
    bytes = 0
    while (piece = input.read(64 * 1024))
      digest << piece
      bytes += piece.bytesize
    end
    "#{bytes} bytes, SHA-256 #{digest.hexdigest}\n"
  end
end

run Application.new
