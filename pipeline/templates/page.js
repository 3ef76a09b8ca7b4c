"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const clock = (seconds) => {
    const s = Math.floor(seconds + 0.001), two = (n) => String(n).padStart(2, "0");
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
      : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };
  const root = getComputedStyle(document.documentElement);
  const left = Number(root.getPropertyValue("--plot-left")), width = Number(root.getPropertyValue("--plot-width"));
  let current = null;

  const songs = [...document.querySelectorAll(".song")].map((article) => {
    const part = (selector) => article.querySelector(selector);
    const song = {
      article, audio: part("audio"), button: part(".play"), slider: part(".seek"), head: part(".head"),
      hover: part(".hover"), now: part(".now"), frame: part(".plates"), title: part("h2").textContent,
      number: Number(article.dataset.number), seconds: Number(article.dataset.seconds),
      across: Number(article.dataset.across), notes: Number(article.dataset.notes), at: 0, wanted: null,
      text: [part("h2"), part(".folder"), ...article.querySelectorAll(".legend li")]
        .map((e) => e ? e.textContent : "").join(" "),
    };
    song.find = song.text.normalize("NFC").toLowerCase();
    song.audio.controls = false;
    song.audio.hidden = true;
    song.button.hidden = false;
    song.button.addEventListener("click", () => toggle(song));
    const { audio } = song;
    audio.addEventListener("play", () => {
      for (const other of songs) if (other !== song) other.audio.pause();
      current = song;
      article.classList.add("playing", "begun");
      song.button.setAttribute("aria-label", `Pause ${song.title}`);
      requestAnimationFrame(() => follow(song));
    });
    audio.addEventListener("pause", () => {
      article.classList.remove("playing");
      song.button.setAttribute("aria-label", `Play ${song.title}`);
      show(song, song.wanted ?? audio.currentTime);
    });
    audio.addEventListener("loadedmetadata", () => {
      if (song.wanted !== null) audio.currentTime = song.wanted;
      song.wanted = null;
    });
    audio.addEventListener("seeked", () => show(song, audio.currentTime));
    audio.addEventListener("ended", () => {
      seek(song, 0);
      const next = byId("autoplay").checked && shown()[shown().indexOf(song) + 1];
      if (next) { seek(next, 0); next.audio.play(); next.article.scrollIntoView({ block: "nearest" }); }
    });
    audio.addEventListener("error", () => { song.now.textContent = "cannot be played"; });

    const timeAt = (event) => {
      const box = song.slider.getBoundingClientRect();
      const part = ((event.clientX - box.left) / box.width - left) / width;
      return Math.min(Math.max(part * song.across, 0), song.seconds);
    };
    song.slider.addEventListener("click", (event) => { seek(song, timeAt(event)); audio.play(); });
    song.slider.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const time = timeAt(event);
      place(song, song.hover, time);
      song.hover.hidden = false;
      song.hover.firstElementChild.textContent = clock(time);
    });
    song.slider.addEventListener("pointerleave", () => { song.hover.hidden = true; });
    song.slider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
      if (step) seek(song, song.at + step);
      else if (event.key === "Home") seek(song, 0);
      else if (event.key === "End") seek(song, song.seconds);
      else if (event.key === "Enter" || event.key === " ") toggle(song);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return song;
  });

  function place(song, line, seconds) {
    line.style.left = `${100 * (left + width * seconds / song.across)}%`;
  }

  function show(song, seconds) {
    song.at = seconds;
    place(song, song.head, seconds);
    song.now.textContent = clock(seconds);
    song.slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    song.slider.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(song.seconds)}`);
  }

  /* Pictures wider than the screen scroll with the playhead. */
  function follow(song) {
    if (song.audio.paused) return;
    show(song, song.wanted ?? song.audio.currentTime);
    const { frame } = song, over = frame.scrollWidth - frame.clientWidth;
    if (over > 0) {
      const x = (left + width * song.at / song.across) * frame.scrollWidth - frame.scrollLeft;
      if (x < 0 || x > 0.85 * frame.clientWidth) frame.scrollLeft += x - 0.2 * frame.clientWidth;
    }
    requestAnimationFrame(() => follow(song));
  }

  function seek(song, seconds) {
    const time = Math.min(Math.max(seconds, 0), song.seconds);
    song.article.classList.add("begun");
    current = song;
    show(song, time);
    if (song.audio.readyState > 0) song.audio.currentTime = time;
    else song.wanted = time;
  }

  function toggle(song) {
    if (song.audio.paused) song.audio.play().catch(() => {}); else song.audio.pause();
  }

  const shown = () => [...document.querySelectorAll(".song:not([hidden])")]
    .map((article) => songs.find((song) => song.article === article));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, button, a, summary, pre")) return;
    const song = current || shown()[0];
    if (!song) return;
    if (event.key === " ") toggle(song);
    else if (event.key === "ArrowLeft" && current) seek(song, song.at - 5);
    else if (event.key === "ArrowRight" && current) seek(song, song.at + 5);
    else return;
    event.preventDefault();
  });

  const tools = document.querySelector(".tools");
  if (!tools) return;
  tools.hidden = false;
  tools.addEventListener("submit", (event) => event.preventDefault());
  const list = byId("songs"), find = byId("find"), sort = byId("sort"), found = byId("found");
  const elsewhere = byId("elsewhere");
  const index = elsewhere ? JSON.parse(byId("index").textContent) : { songs: [], per_page: 1 };
  const others = index.songs.slice(index.per_page).map(([name, seconds, notes], i) => ({
    name, seconds, notes, number: index.per_page + i + 1, find: name.normalize("NFC").toLowerCase(),
  }));
  const MAX_LISTED = 200;

  function arrange() {
    const words = find.value.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (song) => words.every((word) => song.find.includes(word));
    const key = sort.value.replace("-", ""), sign = sort.value.startsWith("-") ? -1 : 1;
    const order = (a, b) => sign * (a[key] - b[key]) || a.number - b.number;
    let count = 0;
    for (const song of [...songs].sort(order)) {
      list.append(song.article);
      song.article.hidden = !fits(song);
      count += !song.article.hidden;
    }
    const active = words.length > 0 || sort.selectedIndex > 0;
    const matches = active ? others.filter(fits).sort(order) : [];
    found.textContent = !words.length ? "" : `${count} of ${songs.length}` +
      (others.length ? ` here, ${matches.length} on other pages` : "");
    if (!elsewhere) return;
    elsewhere.hidden = !matches.length;
    elsewhere.querySelector("ol").replaceChildren(...matches.slice(0, MAX_LISTED).map((song) => {
      const item = document.createElement("li"), link = document.createElement("a"), facts = document.createElement("span");
      const page = Math.floor((song.number - 1) / index.per_page) + 1;
      link.href = `page-${page}.html#s${song.number}`;
      link.dir = "auto";
      link.textContent = song.name;
      facts.textContent = `${clock(song.seconds)}, ${song.notes} notes, page ${page}`;
      item.append(link, facts);
      return item;
    }), ...(matches.length > MAX_LISTED ? [Object.assign(document.createElement("li"), { textContent: `and ${matches.length - MAX_LISTED} more` })] : []));
  }
  find.addEventListener("input", arrange);
  sort.addEventListener("change", arrange);
  byId("pictures").addEventListener("change", (event) => list.classList.toggle("list", !event.target.checked));
  if (find.value || sort.selectedIndex) arrange();
})();
