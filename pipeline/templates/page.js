/* The listening page: search, sort and filters, the list of songs, and the player. State is kept in the address. */
"use strict";
(() => {
  const { element, clock, count } = gansynth;
  const byId = (id) => document.getElementById(id);
  const facts = JSON.parse(byId("facts").textContent);
  const PICTURES = 30; // up to this many inputs, pictures are shown from the beginning
  const MOST_PICTURES = 5000; // browsers cannot lay out pages of any height
  const { width: WIDTH, left: LEFT, right: RIGHT } = facts.layout;
  const plot = { left: LEFT / WIDTH, width: (WIDTH - LEFT - RIGHT) / WIDTH };

  const corpus = new gansynth.Corpus(facts);
  const views = new Map(); // what stands in the document: { entry, show } by element
  const player = new gansynth.Player(byId("player"), { next: () => step(1), previous: () => step(-1) });
  const list = new gansynth.List(byId("list"), make);
  const stems = new gansynth.Stems(player, { start, view: facts.view });

  /* State: what the address says after "#". */
  const FIELDS = { words: "find", sort: "sort", show: "show", instrument: "instrument", program: "program", from: "from", to: "to" };
  const NAMES = { words: "q", sort: "sort", show: "show", instrument: "instrument", program: "program", from: "from", to: "to", pictures: "pictures", song: "song" };
  const usual = { words: "", sort: "name", show: "", instrument: "", program: "", from: "", to: "", pictures: facts.inputs <= PICTURES ? "1" : "0", song: "" };
  let state = { ...usual };

  function address(values) {
    const fields = new URLSearchParams();
    for (const [key, name] of Object.entries(NAMES)) if (values[key] !== usual[key]) fields.set(name, values[key]);
    return `#${fields}`;
  }

  function stateOf(hash) {
    const fields = new URLSearchParams(hash.slice(1));
    return Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, fields.get(name) ?? usual[key]]));
  }

  /* Arranges the list anew. */
  function arrange() {
    const items = corpus.find(state), pictures = state.pictures === "1" && items.length <= MOST_PICTURES;
    byId("list").classList.toggle("cards", pictures);
    byId("list").classList.toggle("compact", !pictures);
    const height = parseFloat(getComputedStyle(byId("list")).getPropertyValue("--usual")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    list.show(items, height);
    const narrowed = ["words", "show", "instrument", "program", "from", "to"].filter((key) => state[key] !== usual[key]);
    const reading = corpus.complete ? "" : `reading ${corpus.entries.length.toLocaleString("en")} of ${facts.inputs.toLocaleString("en")}`;
    const tooMany = state.pictures === "1" && !pictures ? `pictures for up to ${MOST_PICTURES.toLocaleString("en")}` : "";
    byId("found").textContent = [narrowed.length ? `${items.length.toLocaleString("en")} of ${corpus.entries.length.toLocaleString("en")}` : "", reading, tooMany].filter(Boolean).join(", ");
    byId("none").hidden = items.length > 0 || !corpus.complete;
    byId("none").textContent = facts.inputs ? "No song fits." : "No song was rendered.";
    const filters = narrowed.filter((key) => key !== "words").length;
    byId("filter").textContent = filters ? `Filter (${filters})` : "Filter";
  }

  function showControls() {
    for (const [key, id] of Object.entries(FIELDS)) if (byId(id).value !== state[key]) byId(id).value = state[key];
    for (const key of ["instrument", "program"]) { // an address may name what no list offers
      const select = byId(key);
      if (select.value !== state[key]) { select.add(new Option(state[key], state[key])); select.value = state[key]; }
    }
    byId("pictures").checked = state.pictures === "1";
    if (["show", "instrument", "program", "from", "to"].some((key) => state[key] !== usual[key])) showFilters(true);
  }

  /* Takes over what the address says. */
  function visit() {
    const before = state;
    state = stateOf(location.hash);
    if (!byId("filter")) return;
    const same = Object.keys(usual).every((key) => key === "song" || before[key] === state[key]);
    if (!same || before === state) { showControls(); arrange(); }
    if (before.song !== state.song) { redraw(before.song); redraw(state.song); }
    if (state.song) reach();
  }

  function redraw(name) {
    const position = name ? list.items.findIndex((entry) => entry.name === name) : -1;
    if (position >= 0) list.remake(position);
  }

  function reach() { // the song that the address names
    const entry = corpus.named(state.song);
    if (!entry) {
      if (corpus.complete) complain(`There is no song “${state.song}” here.`);
      return;
    }
    let position = list.items.indexOf(entry);
    if (position < 0) { // hidden by the filters of the same address
      state = { ...usual, pictures: state.pictures, song: state.song };
      showControls();
      arrange();
      position = list.items.indexOf(entry);
    }
    list.reveal(position, true);
  }

  function complain(text) {
    byId("trouble").textContent = text;
    byId("trouble").hidden = false;
  }

  let later = 0;
  function change(changes) { // by the controls; the address follows a little later, as browsers limit how often it may
    state = { ...state, song: "", ...changes };
    arrange();
    clearTimeout(later);
    later = setTimeout(() => history.replaceState(null, "", address(state)), 250);
  }

  /* Playing. */
  async function track(entry) {
    const details = await corpus.details(entry);
    return {
      ...stems.source(entry, details), title: entry.title, detail: entry.folder, seconds: details.seconds,
      peaks: gansynth.decodePeaks(details.peaks), href: address({ ...usual, song: entry.name }),
    };
  }

  let current = null;
  const isCurrent = (entry) => current === entry;

  async function start(entry, { at = null, play = true } = {}) {
    const fresh = current !== entry;
    current = entry;
    try { player.load(await track(entry), { at: at ?? 0 }); } catch (error) { complain(String(error.message)); return; }
    if (current !== entry) return; // another one was chosen meanwhile
    if (at !== null && !fresh) player.seek(at);
    if (play) player.play();
  }

  function press(entry) { if (isCurrent(entry)) player.toggle(); else start(entry); }

  function step(by) {
    const { items } = list;
    if (by < 0 && current && player.at > 3) { player.seek(0); return; } // as players do
    let position = current ? items.indexOf(current) : by > 0 ? -1 : items.length;
    do { position += by; } while (items[position] && items[position].marks & gansynth.FAILED);
    if (!items[position]) return;
    start(items[position]);
    list.reveal(position);
  }

  player.addEventListener("ended", () => { if (byId("autoplay").checked) step(1); });
  for (const type of ["track", "play", "pause", "time"]) {
    player.addEventListener(type, () => {
      for (const view of views.values()) if (type !== "time" || isCurrent(view.entry)) view.show(type);
    });
  }

  /* Views: a row, a song with its pictures, or a failed file. */
  function make(entry) {
    const cards = byId("list").classList.contains("cards"), opened = state.song === entry.name;
    const view = entry.marks & gansynth.FAILED ? (cards || opened ? failure(entry) : row(entry)) : cards || opened ? song(entry) : row(entry);
    const { root } = view;
    views.set(root, view);
    root.addEventListener("removed", () => views.delete(root));
    root.addEventListener("shown", () => view.show("shown"));
    const close = root.querySelector(".close");
    if (close) {
      close.hidden = cards;
      close.addEventListener("click", () => { location.hash = address({ ...state, song: "" }); });
    }
    for (const link of root.querySelectorAll("h2 a, .name a")) {
      link.textContent = entry.title;
      link.href = address({ ...usual, song: entry.name });
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        location.hash = address({ ...state, song: opened && !cards ? "" : entry.name });
      });
    }
    corpus.details(entry).then((details) => { view.fill(details); view.show("filled"); }, (error) => complain(error.message));
    return root;
  }

  function playButton(button, entry) {
    button.addEventListener("click", () => press(entry));
    return () => {
      const playing = isCurrent(entry) && player.playing;
      button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${entry.title}`);
      button.closest(".row, .song").classList.toggle("playing", playing);
    };
  }

  function row(entry) {
    const root = gansynth.copy("row-template"), part = (selector) => root.querySelector(selector);
    const failed = entry.marks & gansynth.FAILED;
    let peaks = null;
    part(".folder").textContent = entry.folder;
    part(".folder").hidden = !entry.folder;
    part(".instruments").textContent = failed ? "" : entry.instruments.join(", ");
    part(".count").textContent = failed ? "" : count(entry.notes, "note");
    part(".clock").textContent = failed ? "" : clock(entry.seconds);
    const marks = [[gansynth.FAILED, "failed"], [gansynth.REPAIRED, "repaired"], [gansynth.SHORTENED, "shortened"]];
    part(".marks").append(...marks.filter(([mark]) => entry.marks & mark).map(([, text]) => element("span", text, text)));
    root.classList.toggle("failure", Boolean(failed));
    const wave = part(".wave"), button = part(".play");
    if (failed) { button.remove(); wave.remove(); }
    const mark = failed ? () => {} : playButton(button, entry);
    if (!failed) {
      gansynth.scrub(wave, {
        timeAt: (event, box) => (event.clientX - box.left) / box.width * entry.seconds,
        seek: (seconds, done) => { if (done || isCurrent(entry)) start(entry, { at: seconds, play: done || player.playing }); },
      });
    }
    return {
      root, entry,
      fill(details) {
        if (failed) part(".instruments").textContent = `${details.code}: ${details.message}`;
        else peaks = gansynth.decodePeaks(details.peaks);
      },
      show(type) {
        if (type !== "time") mark();
        if (!failed) gansynth.drawWave(wave, peaks, { played: isCurrent(entry) ? player.at / (entry.seconds || 1) : 0 });
      },
    };
  }

  function song(entry) {
    const root = gansynth.copy("song-template"), part = (selector) => root.querySelector(selector);
    let pictures = null, gone = false;
    part(".number").textContent = String(entry.number + 1).padStart(3, "0");
    root.setAttribute("aria-label", entry.title);
    if (entry.folder) part(".folder").textContent = entry.folder; else part(".folder").remove();
    part(".of").textContent = clock(entry.seconds);
    const mark = playButton(part(".play"), entry);
    const seek = (seconds, done) => start(entry, { at: seconds, play: done || player.playing });
    const key = async (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !/^(Arrow|Page|Home|End|Enter| )/.test(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      if (isCurrent(entry)) { player.sliderKey(event); return; }
      await start(entry, { play: event.key === "Enter" || event.key === " " });
      if (event.key !== "Enter" && event.key !== " ") player.sliderKey(event);
    };
    const draw = async (details) => {
      const make = isDrawn(details) ? drawnPictures : plainPictures;
      const made = await make(entry, details, { seek, key });
      if (gone) { made.removed(); return; }
      pictures = made;
      part(".plates").replaceChildren(pictures.root);
      pictures.show(isCurrent(entry) ? player.at : 0, false);
    };
    root.addEventListener("removed", () => { gone = true; pictures?.removed(); });
    return {
      root, entry,
      fill(details) {
        part(".legend").replaceChildren(...details.legend.map(([colour, name, plays]) => {
          const item = element("li"), label = element("b", "", name);
          label.dir = "auto";
          item.append(element("i", `c${colour}`), label);
          if (plays) item.append(" ", element("span", "", plays));
          return item;
        }), ...(details.more ? [element("li", "more", `and ${details.more} more`)] : []));
        part(".outcomes").replaceChildren(...[count(details.notes, "note"), ...details.outcomes].map((text) => element("li", "", text)));
        part(".files").replaceChildren(...facts.kinds.flatMap(([kind, text]) => Object.keys(details.links).filter((one) => one.replace(/_\d+$/, "") === kind).map((one, i) => {
          const link = element("a", "", i ? String(i + 1) : text);
          link.href = details.links[one];
          if (i) link.setAttribute("aria-label", `${text} ${i + 1}`);
          if (kind !== "piano_roll" && kind !== "spectrogram") link.download = "";
          return [link, " "];
        })).flat());
        stems.fill(part(".stems"), entry, details);
        copies(part(".stems .copy"), part(".stems code").textContent);
        part(".plates").classList.toggle("drawn", isDrawn(details));
        const sight = new IntersectionObserver((seen) => { // notes and pictures are read when they come near
          if (!seen.some((one) => one.isIntersecting)) return;
          sight.disconnect();
          draw(details);
        }, { rootMargin: "600px" });
        sight.observe(root);
      },
      show(type) {
        const at = isCurrent(entry) ? player.at : 0;
        if (type !== "time") mark();
        root.classList.toggle("begun", isCurrent(entry));
        part(".now").textContent = clock(at);
        pictures?.show(at, type === "time" && player.playing);
      },
    };
  }

  /* Whether the pictures are drawn by roll.js: from the notes, or in a layout that only it knows. */
  function isDrawn(details) {
    return Boolean(details.links.roll_data) || details.spectrogram[1] !== facts.layout.spectrogram - facts.layout.top - facts.layout.bottom;
  }

  async function drawnPictures(entry, details, { seek, key }) {
    const { links, spectrogram: [width, height, low, semitones] } = details, { left, right, top, bottom, per_second } = facts.layout;
    const tiles = details.tiles ?? [["spectrogram", 0, width]];
    const path = links.roll_data;
    const roll = path ? await gansynth.read(decodeURIComponent(path.slice(path.indexOf("/") + 1, -3)), path.slice(0, -3)).catch((error) => { complain(error.message); return null; }) : null;
    return new gansynth.Pictures({
      seconds: details.seconds, across: details.across, per_second, roll, colours: facts.colours, seek, key, label: `Position in ${entry.title}`,
      spectrogram: links.spectrogram ? {
        tiles: tiles.map(([kind, first, across]) => ({ src: links[kind], first, width: across })), width, height, left, right, top, bottom, low, semitones,
      } : null,
    });
  }

  /* Pictures as earlier releases drew them, or without the notes: scaled to the page's width. */
  function plainPictures(entry, details, { seek, key }) {
    const slider = element("div", "seek"), head = element("div", "head"), hover = element("div", "hover"), across = details.across || 1;
    const kinds = [["piano_roll", "roll", "Piano roll", facts.layout.roll], ["spectrogram", "spectrogram", "Spectrogram", facts.layout.spectrogram]];
    const drawn = kinds.filter(([kind]) => details.links[kind]);
    slider.append(...drawn.map(([kind, className, text, height], i) => {
      const box = element("div", className + (drawn.length > 1 && !i ? " upper" : "")), image = new Image(WIDTH, height);
      image.loading = "lazy";
      image.decoding = "async";
      image.draggable = false;
      image.alt = `${text} of ${entry.title}`;
      image.src = details.links[kind];
      box.append(image);
      return box;
    }), ...(drawn.length ? [] : [element("div", "bare")]), head, hover);
    hover.append(element("span"));
    hover.hidden = true;
    slider.setAttribute("role", "slider");
    slider.tabIndex = 0;
    slider.setAttribute("aria-label", `Position in ${entry.title}`);
    slider.setAttribute("aria-valuemin", "0");
    slider.setAttribute("aria-valuemax", details.seconds.toFixed(1));
    const place = (line, seconds) => { line.style.left = `${100 * (plot.left + plot.width * seconds / across)}%`; };
    const timeAt = (event, box) => gansynth.clamp(((event.clientX - box.left) / box.width - plot.left) / plot.width * across, 0, entry.seconds);
    gansynth.scrub(slider, { timeAt, seek, tapOnly: () => slider.parentElement.scrollWidth > slider.parentElement.clientWidth + 1 });
    slider.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const time = timeAt(event, slider.getBoundingClientRect());
      place(hover, time);
      hover.hidden = false;
      hover.firstElementChild.textContent = clock(time);
    });
    slider.addEventListener("pointerleave", () => { hover.hidden = true; });
    slider.addEventListener("keydown", key);
    return {
      root: slider,
      removed() {},
      show(at, playing) {
        place(head, at);
        slider.setAttribute("aria-valuenow", at.toFixed(1));
        slider.setAttribute("aria-valuetext", `${clock(at)} of ${clock(entry.seconds)}`);
        const frame = slider.parentElement, over = frame.scrollWidth - frame.clientWidth;
        if (!playing || over <= 0) return; // pictures wider than the screen scroll with the playhead
        const x = (plot.left + plot.width * at / across) * slider.clientWidth - frame.scrollLeft;
        if (x < 0 || x > 0.85 * frame.clientWidth) frame.scrollLeft += x - 0.2 * frame.clientWidth;
      },
    };
  }

  function failure(entry) {
    const root = gansynth.copy("failure-template"), part = (selector) => root.querySelector(selector);
    part(".number").textContent = String(entry.number + 1).padStart(3, "0");
    root.setAttribute("aria-label", `${entry.title}, failed`);
    if (entry.folder) part(".folder").textContent = entry.folder; else part(".folder").remove();
    return {
      root, entry,
      fill(details) {
        const [meaning, remedy] = facts.codes[details.code] ?? ["", ""];
        part(".code").textContent = details.code;
        part(".message").textContent = details.message;
        gansynth.withCode(part(".meaning"), meaning);
        gansynth.withCode(part(".todo"), remedy);
        part(".command").hidden = !details.command;
        part(".command code").textContent = details.command;
        copies(part(".command .copy"), details.command);
        part(".source").textContent = details.source;
        if (details.link && location.protocol === "file:") part(".source").href = details.link;
        else part(".source").removeAttribute("download");
      },
      show() {},
    };
  }

  function copies(button, text) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.textContent = await gansynth.toClipboard(text) ? "Copied" : "Not copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  /* Controls. */
  function showFilters(open) {
    byId("filters").hidden = !open;
    byId("filter").setAttribute("aria-expanded", String(open));
  }

  for (const paragraph of document.querySelectorAll("#failed .command")) copies(paragraph.querySelector(".copy"), paragraph.querySelector("code").textContent);
  if (location.protocol !== "file:") { // what lies outside of the folder is not served
    for (const link of document.querySelectorAll("a.source")) link.removeAttribute("href");
    document.querySelector("#help .local").hidden = true;
  }
  document.addEventListener("keydown", (event) => {
    if (player.key(event)) return;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches?.("textarea, select, input:not([type=range], [type=checkbox])")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/" && byId("find")) { byId("find").focus(); byId("find").select(); }
    else if (event.key === "?") byId("help").showModal();
    else if (event.key === " " && !current && !player.owns(event.target)) step(1);
    else return;
    event.preventDefault();
  });
  document.querySelector(".bar-help").addEventListener("click", () => byId("help").showModal());
  document.querySelector(".bar-title a").addEventListener("click", (event) => {
    event.preventDefault();
    const hash = address({ ...state, song: current.name });
    if (location.hash === hash) reach(); else location.hash = hash;
  });

  const tools = document.querySelector(".tools");
  if (!tools) return;
  tools.hidden = false;
  for (const name of facts.instruments) byId("instrument").add(new Option(name, name));
  for (const [number, name] of Object.entries(facts.programs)) byId("program").add(new Option(`${number} ${name}`, number));
  tools.addEventListener("submit", (event) => event.preventDefault());
  for (const [key, id] of Object.entries(FIELDS)) byId(id).addEventListener("input", (event) => change({ [key]: event.target.value }));
  byId("pictures").addEventListener("change", (event) => change({ pictures: event.target.checked ? "1" : "0" }));
  byId("filter").addEventListener("click", () => showFilters(byId("filters").hidden));
  byId("reset").addEventListener("click", () => { change({ ...usual, words: state.words, sort: state.sort, pictures: state.pictures }); showControls(); });
  addEventListener("hashchange", () => { if (/^#(failed|songs|job)$/.test(location.hash)) return; visit(); });

  state = /^#(failed|songs|job)$/.test(location.hash) ? state : stateOf(location.hash);
  showControls();
  let drawn = 0;
  corpus.load(() => {
    const narrowed = Object.keys(usual).some((key) => !["pictures", "song"].includes(key) && state[key] !== usual[key]);
    if (narrowed || corpus.complete || !drawn) { // in the order of names, what was read later comes below
      const { scrollY } = window;
      arrange();
      scrollTo({ top: scrollY, behavior: "instant" });
    } else {
      byId("found").textContent = `reading ${corpus.entries.length.toLocaleString("en")} of ${facts.inputs.toLocaleString("en")}`;
    }
    if (!drawn) performance.mark("gansynth-listed"); // benchmarks/page.py reads these
    if (corpus.complete) performance.mark("gansynth-complete");
    drawn += 1;
    if (state.song && (corpus.complete || corpus.named(state.song)) && drawn) reachOnce();
  }).catch((error) => complain(`${error.message}. The page and its folder page/ belong together; run the job again, or copy the whole folder.`));

  let reached = false;
  function reachOnce() { if (!reached) { reached = true; reach(); } }
})();
