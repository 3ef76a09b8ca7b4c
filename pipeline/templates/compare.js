/*
 * The comparison: all versions of a song play at once, decoded to samples and started together, and all but one are silent.
 * So a switch comes at once and at the same sample; two <audio> elements would have a gap, and drift apart.
 */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("comparison").textContent);
  const by = (id) => document.getElementById(id), { element, clamp, clock } = gansynth;
  const key = `gansynth-comparison-${data.id}`, count = data.versions.length;
  const FADE = 0.008; // seconds of a switch, so that it does not click
  let judged = { songs: {}, abx: [] };
  try { judged = JSON.parse(localStorage.getItem(key)) ?? judged; } catch { /* not kept */ }

  let song = null, number = -1, buffers = null, sources = [], gains = [], context = null;
  let playing = false, offset = 0, begun = 0; // position in seconds when playing began, and the context's time then
  let heard = 0; // the version that is heard
  let mode = "open", order = [], revealed = false; // order: version of each button
  let answer = 0; // which of A and B is X

  const random = (below) => crypto.getRandomValues(new Uint32Array(1))[0] % below;
  const at = () => playing ? clamp(offset + context.currentTime - begun, 0, song.seconds) : offset;
  const level = (version) => by("level").checked ? song.gains[version] : 1;

  function shuffled() {
    const list = [...Array(count).keys()];
    for (let i = count - 1; i > 0; i--) { const j = random(i + 1); [list[i], list[j]] = [list[j], list[i]]; }
    return list;
  }

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(judged)); } catch { /* not kept */ }
  }

  function judgement(version) {
    const name = data.versions[version];
    const mine = judged.songs[song.id] ??= {};
    return mine[name] ??= { stars: 0, note: "" };
  }

  // Sound

  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;

  async function load(mine) {
    by("status").textContent = "Reading the sounds…";
    const read = await Promise.all(song.sounds.map((src, version) => gansynth.read(`sound-${mine}-${version}`, src, song.digests[version])));
    context ??= new AudioContext();
    const decoded = await Promise.all(read.map((text) => context.decodeAudioData(bytesOf(text))));
    if (mine !== number) return; // another song was chosen meanwhile
    buffers = decoded;
    by("play").disabled = false;
    by("status").textContent = "";
  }

  function stop() {
    for (const source of sources) { source.onended = null; source.stop(); source.disconnect(); }
    for (const gain of gains) gain.disconnect();
    sources = [];
    gains = [];
  }

  function play(from = offset) {
    if (!buffers) return;
    stop();
    context.resume();
    begun = context.currentTime + 0.03;
    offset = from >= song.seconds - 0.01 ? 0 : from;
    const longest = buffers.reduce((a, b) => a.duration >= b.duration ? a : b);
    buffers.forEach((buffer, version) => {
      const source = new AudioBufferSourceNode(context, { buffer });
      const gain = new GainNode(context, { gain: version === heard ? level(version) : 0 });
      source.connect(gain).connect(context.destination);
      source.start(begun, Math.min(offset, buffer.duration));
      if (buffer === longest) source.onended = () => { pause(); offset = 0; show(); };
      sources.push(source);
      gains.push(gain);
    });
    playing = true;
    state();
    requestAnimationFrame(follow);
  }

  function pause() {
    offset = at();
    playing = false;
    stop();
    state();
  }

  function seek(seconds) {
    const to = clamp(seconds, 0, song.seconds);
    if (playing) play(to); else offset = to;
    show();
  }

  function hear(version) {
    heard = version;
    if (playing) {
      const now = context.currentTime; // it goes on meanwhile
      gains.forEach((gain, each) => {
        gain.gain.cancelScheduledValues(now);
        gain.gain.setTargetAtTime(each === version ? level(version) : 0, now, FADE / 3);
      });
    }
    buttons();
    show();
  }

  // What is seen

  function follow() { if (playing) { show(); requestAnimationFrame(follow); } }

  function state() {
    by("desk").classList.toggle("playing", playing);
    by("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    show();
  }

  function show() {
    const slider = by("position"), now = at();
    by("now").textContent = clock(now);
    slider.setAttribute("aria-valuenow", now.toFixed(1));
    slider.setAttribute("aria-valuetext", `${clock(now)} of ${clock(song.seconds)}`);
    const peaks = gansynth.decodePeaks(song.peaks[mode === "open" ? heard : 0]); // a waveform would tell
    gansynth.drawWave(slider.querySelector("canvas"), peaks, { played: now / (song.seconds || 1) });
  }

  const choices = () => mode === "abx" ? [Number(by("abx-a").value), Number(by("abx-b").value)] : order;

  /* The buttons as [label, version]; X comes last. */
  function labelled() {
    if (mode === "abx") {
      const pair = choices();
      return [["A", pair[0]], ["B", pair[1]], ["X", pair[answer]]];
    }
    return order.map((version, i) => [mode === "open" || revealed ? `${i + 1} ${data.versions[version]}` : `Version ${i + 1}`, version]);
  }

  let pressed = 0; // number of the button that is heard: X and one of A and B are the same version
  function buttons() {
    by("versions").querySelectorAll(".version").forEach((button, i) => button.setAttribute("aria-pressed", String(i === pressed)));
  }

  function choose(i) {
    const all = labelled();
    if (i < 0 || i >= all.length) return;
    pressed = i;
    hear(all[i][1]);
  }

  function draw() {
    const items = labelled().map(([label, version], i) => {
      const item = element("li"), button = element("button", "version", label);
      button.type = "button";
      button.dir = "auto";
      button.addEventListener("click", () => choose(i));
      item.append(button);
      if (mode !== "abx") {
        item.append(stars(version, label), remark(version, label));
        const loudness = song.loudness[version];
        item.append(element("span", "lufs", mode === "blind" && !revealed ? "" : loudness === null ? "silent" : `${loudness.toFixed(1).replace("-", "−")} LUFS`));
      }
      return item;
    });
    by("versions").replaceChildren(...items);
    by("blind").hidden = mode !== "blind" || revealed;
    by("abx").hidden = mode !== "abx";
    pressed = Math.min(pressed, items.length - 1);
    choose(pressed);
    if (mode === "abx") countAnswers();
  }

  function stars(version, label) {
    const group = element("fieldset", "stars");
    group.append(element("legend", "sr", `Stars for ${label}`));
    const fill = () => [...group.querySelectorAll("button")].forEach((star, i) => {
      star.classList.toggle("on", i < judgement(version).stars);
      star.textContent = i < judgement(version).stars ? "★" : "☆";
      star.setAttribute("aria-pressed", String(i < judgement(version).stars));
    });
    for (let n = 1; n <= 5; n++) {
      const star = element("button");
      star.type = "button";
      star.setAttribute("aria-label", `${n} star${n > 1 ? "s" : ""} for ${label}`);
      star.addEventListener("click", () => {
        const mine = judgement(version);
        mine.stars = mine.stars === n ? 0 : n;
        keep();
        fill();
      });
      group.append(star);
    }
    fill();
    return group;
  }

  function remark(version, label) {
    const field = element("input", "remark");
    field.type = "text";
    field.placeholder = "Note";
    field.setAttribute("aria-label", `Note on ${label}`);
    field.value = judgement(version).note;
    field.addEventListener("input", () => { judgement(version).note = field.value; keep(); });
    return field;
  }

  // ABX

  /* The probability of so many right answers, or more, by guessing. */
  function chance(right, trials) {
    let sum = 0, term = 0.5 ** trials; // C(trials, 0) / 2 ** trials
    for (let k = 0; k <= trials; k++) {
      if (k >= right) sum += term;
      term *= (trials - k) / (k + 1);
    }
    return Math.min(sum, 1);
  }

  /* The answers about a pair, in either order; song is no part of it, so that the count goes on from song to song. */
  function answersOfPair() {
    const names = choices().map((version) => data.versions[version]).sort().join("\n");
    return judged.abx.filter((one) => [one.a, one.b].sort().join("\n") === names);
  }

  function countAnswers() {
    const mine = answersOfPair(), right = mine.filter((one) => one.right).length;
    by("abx-count").textContent = mine.length
      ? `${right} of ${mine.length} right; by guessing, so many or more come with a probability of ${chance(right, mine.length).toPrecision(2)}.`
      : "No answer yet.";
  }

  function answered(guess) {
    const [a, b] = choices().map((version) => data.versions[version]);
    if (a === b) { by("abx-count").textContent = "Choose two versions."; return; }
    judged.abx.push({ song: song.id, a, b, x: [a, b][answer], answer: [a, b][guess], right: guess === answer });
    keep();
    answer = random(2);
    draw();
  }

  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answered(Number(button.dataset.answer)));
  by("abx-again").addEventListener("click", () => {
    const mine = answersOfPair();
    judged.abx = judged.abx.filter((one) => !mine.includes(one));
    keep();
    countAnswers();
  });
  for (const [id, first] of [["abx-a", 0], ["abx-b", 1]]) {
    data.versions.forEach((name, version) => by(id).append(new Option(name, String(version), version === first, version === first)));
    by(id).addEventListener("change", () => { answer = random(2); draw(); });
  }

  // Songs

  function open(next) {
    if (next < 0 || next >= data.songs.length) return;
    if (playing) pause();
    number = next;
    song = data.songs[next];
    buffers = null;
    offset = 0;
    by("play").disabled = true;
    by("song-title").textContent = song.title;
    by("length").textContent = clock(song.seconds);
    by("position").setAttribute("aria-valuemax", song.seconds.toFixed(1));
    document.querySelectorAll(".pick").forEach((pick, i) => pick.setAttribute("aria-current", String(i === next)));
    start();
    load(next).catch((error) => { if (number === next) by("status").textContent = `${error.message}. The page and its folder sounds/ belong together.`; });
  }

  /* Begins a listening: a new order, and a new X. */
  function start() {
    order = mode === "blind" ? shuffled() : [...Array(count).keys()];
    revealed = false;
    answer = random(2);
    pressed = 0;
    draw();
  }

  data.songs.forEach((one, i) => {
    const item = element("li"), pick = element("button", "pick"), name = element("span", "", one.id.replace(/\.mid$/, ""));
    pick.type = "button";
    name.dir = "auto";
    pick.append(name, element("span", "", clock(one.seconds)));
    pick.addEventListener("click", () => open(i));
    item.append(pick);
    by("list").append(item);
  });
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.addEventListener("change", () => { mode = radio.value; start(); });
  }
  by("level").addEventListener("change", () => hear(heard));
  by("reveal").addEventListener("click", () => { revealed = true; draw(); });
  by("play").addEventListener("click", () => { if (playing) pause(); else play(); });
  by("export").addEventListener("click", (event) => {
    const rated = Object.fromEntries(Object.entries(judged.songs).map(([id, versions]) => [id,
      Object.fromEntries(Object.entries(versions).filter(([, one]) => one.stars || one.note))]).filter(([, versions]) => Object.keys(versions).length));
    const text = JSON.stringify({ versions: data.versions, songs: rated, abx: judged.abx }, null, 2);
    const link = event.currentTarget;
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  const slider = by("position");
  let dragging = false;
  const under = (event) => { const box = slider.getBoundingClientRect(); return (event.clientX - box.left) / box.width * song.seconds; };
  slider.addEventListener("pointerdown", (event) => { dragging = true; slider.setPointerCapture(event.pointerId); seek(under(event)); });
  slider.addEventListener("pointermove", (event) => { if (dragging) seek(under(event)); });
  for (const type of ["pointerup", "pointercancel"]) slider.addEventListener(type, () => { dragging = false; });
  new ResizeObserver(() => show()).observe(slider);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(show));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=text]")) return;
    const abx = mode === "abx" ? ["a", "b", "x"].indexOf(event.key) : -1;
    if (event.key === " ") {
      if (event.target.closest("a, input[type=checkbox]")) return; // Space is theirs
      if (playing) pause(); else play();
      event.target.addEventListener("keyup", (up) => up.preventDefault(), { once: true }); // a button is pressed when it is let go
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (event.target.matches("input[type=radio]")) return;
      seek(at() + (event.key === "ArrowLeft" ? -5 : 5));
    } else if (event.target === slider && (event.key === "Home" || event.key === "End")) seek(event.key === "Home" ? 0 : song.seconds);
    else if (/^[1-9]$/.test(event.key)) choose(Number(event.key) - 1);
    else if (abx >= 0) choose(abx);
    else if (event.key === "n") open(number + 1);
    else if (event.key === "p") open(number - 1);
    else return;
    event.preventDefault();
  });

  open(0);
})();
