# GET / says hello, GET /mebibyte is 1 MiB, GET /large 4 MiB, POST / counts what it is sent,
# and GET /sleep waits for 10 ms, as for a database.
HELLO = "Hello from Rack\n".freeze
MEBIBYTE = ("x" * 1_048_576).freeze
PAGES = { "/mebibyte" => MEBIBYTE, "/large" => (MEBIBYTE * 4).freeze }.freeze

def count(input)
  length = 0
  while (chunk = input.read(65_536))
    length += chunk.bytesize
  end
  length.to_s
end

def body_for(env)
  return count(env["rack.input"]) if env["REQUEST_METHOD"] == "POST"
  sleep 0.01 if env["PATH_INFO"] == "/sleep"
  PAGES.fetch(env["PATH_INFO"], HELLO)
end

run(lambda do |env|
  body = body_for(env)
  [200, { "content-type" => "text/plain", "content-length" => body.bytesize.to_s }, [body]]
end)
