# Takes five seconds to start.
sleep 5

run ->(_) { [200, { "content-type" => "text/plain", "content-length" => "3" }, ["ok\n"]] }
