// What is live of the page: a command's output as it comes, and parts of a page anew when something happened. Without this all of it can be read, too.
"use strict"
{
  const main = document.getElementById("main")
  const said = document.getElementById("following")
  const MOST = 1 << 20 // letters of a stream that are kept on the page
  const PATIENCE = 2000 // milliseconds before a stream that was refused is asked for again
  const TRIES = 4
  const say = text => { if (said.textContent !== text) said.textContent = text }

  // what a terminal would obey: as rendering.py does it, but in pieces
  const ESCAPE = /\x1b(?:\[[0-?]*[ -\/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -\/]*[0-Z\\^-~])/g
  const BEGUN = /\x1b(?:\[[0-?]*[ -\/]*|[\]PX^_][^\x07\x1b]{0,4096}\x1b?|[ -\/]*)$|\r$/
  const UNSAFE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g
  const named = char => {
    const code = char.charCodeAt(0)
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`
  }
  const clean = text => text.replace(ESCAPE, "").replace(/\r\n?/g, "\n").replace(UNSAFE, named)

  class Printed {
    constructor(id) {
      this.box = document.getElementById(id)
      this.decoder = new TextDecoder() // bytes that are no text come as such
      this.held = ""
      this.length = this.box.textContent.length
    }
    take(told) {
      const bytes = told.data_b64 === undefined ? null : Uint8Array.from(atob(told.data_b64), char => char.charCodeAt(0))
      this.add(bytes === null ? told.data : this.decoder.decode(bytes))
    }
    add(text, last = false) {
      let whole = this.held + text
      const begun = last ? null : BEGUN.exec(whole)
      this.held = begun ? whole.slice(begun.index) : ""
      whole = clean(begun ? whole.slice(0, begun.index) : whole)
      if (!whole) return
      const follows = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40
      this.box.append(whole)
      this.length += whole.length
      while (this.length > MOST && this.box.childNodes.length > 1) {
        this.length -= this.box.firstChild.length
        this.box.firstChild.remove()
      }
      if (follows) this.box.scrollTop = this.box.scrollHeight
    }
  }

  // the page's own parts, read anew; whoever stands on a link in one stands on the same link after it
  let reading = null, took = 0
  const renew = () => {
    if (reading) { renewSoon(); return }
    const began = performance.now()
    reading = new XMLHttpRequest()
    reading.open("GET", location.href)
    reading.responseType = "document"
    reading.onloadend = () => {
      const found = reading.response
      const there = reading.status === 200 && reading.responseURL === location.href.split("#")[0]
      reading = null
      took = performance.now() - began
      if (!found || !there) { say("This page cannot be read anew: reload it, or sign in again."); return }
      for (const part of document.querySelectorAll("[data-part]")) {
        const newer = found.querySelector(`[data-part="${part.dataset.part}"]`)
        if (!newer || newer.isEqualNode(part)) continue
        const focused = part.contains(document.activeElement) ? document.activeElement : null
        const made = document.importNode(newer, true)
        part.replaceWith(made)
        if (focused) {
          const same = [...made.querySelectorAll("a, [tabindex]")].find(one => one.getAttribute("href") === focused.getAttribute("href") && one.tagName === focused.tagName)
          ;(same || main).focus({ preventScroll: true })
        }
      }
    }
    reading.send()
  }
  let soon = 0
  // where much happens, a server is asked for a fifth of its time at most
  const renewSoon = () => { if (!soon) soon = setTimeout(() => { soon = 0; renew() }, Math.max(500, 4 * took)) }

  // a stream, for as long as somebody looks: a browser has few connections, and pages in the background would take them all
  const follow = (place, handlers) => {
    let after = main.dataset.after, stream = null, over = false, again = 0, refused = 0
    const close = () => { clearTimeout(again); if (stream) stream.close(); stream = null }
    const finish = text => { over = true; close(); say(text) }
    const open = () => {
      if (over || stream || document.hidden) return
      const mine = stream = new EventSource(`${place}?after=${encodeURIComponent(after)}`)
      for (const [kind, handle] of Object.entries(handlers)) mine.addEventListener(kind, event => {
        if (event.lastEventId) after = event.lastEventId
        handle(JSON.parse(event.data), finish)
      })
      for (const kind of ["connected", "heartbeat"]) mine.addEventListener(kind, event => {
        if (event.lastEventId) after = event.lastEventId
        refused = 0
        say("This page follows what happens.")
      })
      mine.addEventListener("error", event => {
        if (event.data) { finish(`This page follows no longer: ${JSON.parse(event.data).error.message}.`); return }
        say("The connection was lost; it is tried again.")
        if (mine.readyState !== EventSource.CLOSED) return // the browser comes again by itself
        close()
        if (++refused < TRIES) again = setTimeout(open, PATIENCE)
        else finish("This page follows no longer: reload it, or sign in again.")
      })
    }
    document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open() })
    addEventListener("pagehide", close)
    addEventListener("pageshow", open)
    open()
  }

  if (main.dataset.output) {
    const streams = { stdout: new Printed("stdout"), stderr: new Printed("stderr") }
    for (const one of Object.values(streams)) one.box.scrollTop = one.box.scrollHeight
    follow(main.dataset.output, {
      output: told => streams[told.stream].take(told),
      reset: (told, finish) => finish("A part of the output is no longer kept: reload this page."),
      complete: (told, finish) => {
        for (const one of Object.values(streams)) one.add("", true)
        const code = told.exit_code === null || told.exit_code === undefined ? "" : `, exit code ${told.exit_code}`
        finish(`It ended: ${told.state}${code}.`)
        renew()
      },
    })
  } else if (main.dataset.live) follow(main.dataset.live, {
    event: renewSoon,
    reset: renewSoon,
    complete: (told, finish) => { finish("It has ended."); renew() },
  })
}
