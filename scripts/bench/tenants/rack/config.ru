# A bad tenant: what it does is the last part of the path.
def hang
  sleep
end

def flood
  50_000.times { |at| puts at.odd? ? "" : "a line of a flood, and not the last one: #{at}" }
end

def leave_somebody
  Process.detach(Process.spawn("sleep 60", pgroup: true))
end

run(lambda do |env|
  case env["PATH_INFO"].split("/").last
  when "slow" then sleep(0.3)
  when "hang" then hang
  when "flood" then flood
  when "crash" then Process.kill(:KILL, Process.pid)
  when "fork" then leave_somebody
  end
  [200, { "content-type" => "text/plain", "content-length" => "3" }, ["ok\n"]]
end)
