/* What the other scripts share: text, time, and reading the page's data. Everything is in one global, `gansynth`. */
"use strict";
var gansynth = {};
(() => {
  /* Formats seconds as m:ss, or h:mm:ss from an hour on. */
  gansynth.clock = (seconds) => {
    const s = Math.floor(seconds + 0.001), two = (n) => String(n).padStart(2, "0");
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
      : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };

  /* Returns text in the form in which it is searched. */
  gansynth.plain = (text) => text.normalize("NFC").toLowerCase();

  gansynth.count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  gansynth.clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /* Makes an element. Texts go in as text, never as HTML: they come from untrusted files. */
  gansynth.element = (tag, className = "", text = "") => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };

  /* Copies the content of a <template>. */
  gansynth.copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

  /* Text with `names` between backticks, as docs/errors.md writes them. */
  gansynth.withCode = (element, text) => {
    element.replaceChildren(...text.split("`").map((part, i) => i % 2 ? gansynth.element("code", "", part) : part));
    return element;
  };

  /* Copies text to the clipboard; the old way where the page is from the disk and the new one is refused. */
  gansynth.toClipboard = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* below */ }
    const area = gansynth.element("textarea", "sr");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };

  /*
   * Data are embedded as JSON, or in script files of their own, which call gansynth.take: a page from the disk may
   * read no other kind of file. Over HTTP the browser compares a script with its digest before it runs it; from the
   * disk it cannot, and the text is compared here, so that files of another run are not taken for this one's.
   */
  const waiting = new Map();
  gansynth.take = (name, text) => waiting.get(name)?.(text);

  /* Promises data by name; src: its file, without suffix; digests: [of the script, of the text], or null for those of one song. */
  gansynth.read = async (name, src, digests = null) => {
    const embedded = document.getElementById(name);
    if (embedded) return JSON.parse(embedded.textContent);
    const isServed = location.protocol.startsWith("http");
    const text = await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(name, resolve);
      script.src = `${src}.js`;
      if (isServed && digests) { script.integrity = `sha256-${digests[0]}`; script.crossOrigin = "anonymous"; }
      script.onerror = () => reject(new Error(`${src}.js cannot be read, or is of another run`));
      script.onload = () => { script.remove(); reject(new Error(`${src}.js holds other data`)); };
      document.head.append(script);
    }).finally(() => waiting.delete(name));
    if (!isServed && digests && crypto.subtle) {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
      if (btoa(String.fromCharCode(...hash)) !== digests[1]) throw new Error(`${src}.js is of another run`);
    }
    return JSON.parse(text);
  };
})();
