// Browsers run no worker from file://, so search does its work in a hidden frame there.
// The theme would ask unpkg.com for such a shim; this one is ours, and the pages ask nobody for anything.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inner = this.frame.contentWindow
      const script = src => new Promise((done, failed) => {
        const element = inner.document.createElement("script")
        Object.assign(element, { src, onload: done, onerror: failed })
        inner.document.body.appendChild(element)
      })
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inner.importScripts = (...all) => all.reduce((before, src) => before.then(() => script(src)), Promise.resolve())
      this.ready = script(new URL(url, location.href).href)
    }
    postMessage(data) {
      const inner = this.frame.contentWindow
      this.ready.then(() => inner.dispatchEvent(new inner.MessageEvent("message", { data })))
    }
    terminate() { this.frame.remove() }
  }
}
