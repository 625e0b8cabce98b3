-- For wrk: each request goes to the next of N applications, by its host name; N is the argument.
local count, at = 1, -1

function init(args)
  count = tonumber(args[1])
end

function request()
  at = (at + 1) % count
  return wrk.format("GET", "/", { Host = "app" .. at .. ".test" })
end
