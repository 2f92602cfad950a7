# The bundled agent in an image, which need not have Python: it plays the turns of `rdev demo` (wiring/demo.py) and knows no others. POSIX sh and
# cat, mkdir, mv. The prompt comes on stdin; the lines are those of Claude Code. Exit codes: 0 done, 1 the work failed, 2 it was asked for more.
[ "$1" != --version ] || { echo 'bundled agent 1, in an image: it plays the demo'; exit; }
read -r prompt
session=demo-$$ use=0

line() { printf '%s,"session_id":"%s"}\n' "$1" "$session"; }
said() { line "{\"type\":\"assistant\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"$1\"}]}"; }
uses() { # TOOL INPUT
  use=$((use + 1))
  line "{\"type\":\"assistant\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"use_$use\",\"name\":\"$1\",\"input\":{$2}}]}"
}
answer() { # FAILED TEXT
  line "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"use_$use\",\"is_error\":$1,\"content\":\"$2\"}]}"
}
result() { line "{\"type\":\"result\",\"subtype\":\"$1\",\"is_error\":$2,\"result\":\"$3\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0}"; }
fail() {
  answer true "$1"
  result error_during_execution true "$1"
  exit 1
}

line '{"type":"system","subtype":"init","model":"a script"'
[ "$prompt" = 'add a /health page' ] || {
  result error_during_execution true "in an image the bundled agent only plays rdev demo; use one that the image has: rdev agent list"
  exit 2
}
said 'I will add a page that says how the site is, and link to it from the front page.'
uses Write '"file_path":"site/health.html"'
mkdir -p site && cat >site/health.html <<'PAGE' || fail 'site/health.html cannot be written'
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>health</title>
</head>
<body>
  <p id="status">ok</p>
</body>
</html>
PAGE
answer false 'wrote site/health.html'
said 'Now the link.'
uses Edit '"file_path":"site/index.html"'
found=
while IFS= read -r text || [ -n "$text" ]; do
  printf '%s\n' "$text"
  [ "$text" != '  <p>It works.</p>' ] || { found=1; printf '%s\n' '  <p><a href="health.html">health</a></p>'; }
done <site/index.html >site/.index.html && [ -n "$found" ] && mv site/.index.html site/index.html || fail 'site/index.html is not as the skeleton has it'
answer false 'edited site/index.html'
said 'The project has a check; I run it.'
uses Bash '"command":"sh scripts/check.sh"'
sh scripts/check.sh >/dev/null 2>&1 || fail 'the check fails'
answer false 'all pages are whole'
said 'The page is at site/health.html, the front page links to it, and the check passes.'
result success false 'The page is at site/health.html, the front page links to it, and the check passes.'
