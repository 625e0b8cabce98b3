# GET / says hello, GET /mebibyte is 1 MiB, POST / counts what it is sent.
HELLO = "Hello from Rack\n".freeze
MEBIBYTE = ("x" * 1_048_576).freeze

def count(input)
  length = 0
  while (chunk = input.read(65_536))
    length += chunk.bytesize
  end
  length.to_s
end

def body_for(env)
  return count(env["rack.input"]) if env["REQUEST_METHOD"] == "POST"
  env["PATH_INFO"] == "/mebibyte" ? MEBIBYTE : HELLO
end

run(lambda do |env|
  body = body_for(env)
  [200, { "content-type" => "text/plain", "content-length" => body.bytesize.to_s }, [body]]
end)
