"use strict";
(() => {
  const data = JSON.parse(document.getElementById("audition").textContent);
  const by = (id) => document.getElementById(id), { element, clamp } = gansynth;
  const player = by("player"), command = by("command"), chosen = by("chosen");
  const buttons = [...document.querySelectorAll(".hear")], boxes = [...document.querySelectorAll(".keep")];
  let current = "";

  function mark() {
    for (const button of buttons) button.classList.toggle("on", !player.paused && button.dataset.clip === current);
  }

  function start(clip) {
    current = clip;
    player.src = `clips/${clip}.wav`;
    player.play().catch(() => {});
  }

  function hear(clip) {
    if (clip === current && !player.paused) { player.pause(); return; }
    start(clip);
    const note = clip.match(/^(?:note|phrase)-(\d+)$/);
    if (note) choose(Number(note[1]));
  }

  for (const button of buttons) button.addEventListener("click", () => hear(button.dataset.clip));
  for (const event of ["play", "pause", "ended"]) player.addEventListener(event, mark);

  // The command that renders a song: number is that of an instrument in map.yaml, where the map's points come last.
  function showRender(number, what) {
    by("render-what").textContent = `Now with ${what}.`;
    by("render-command").textContent = data.render.replace("NUMBER", String(number));
  }

  function choose(number) {
    chosen.value = String(number);
    showRender(number, `${number} ${data.names[number]}`);
  }
  chosen.addEventListener("change", () => choose(Number(chosen.value)));

  // The keyboard. Pages from the disk may not decode sound, so a note between rendered ones is played faster or slower.
  const [lowest, highest] = data.keys, sounding = new Map();
  const isBlack = (pitch) => [1, 3, 6, 8, 10].includes(pitch % 12);
  const nameOf = (pitch) => `${"C C♯ D D♯ E F F♯ G G♯ A A♯ B".split(" ")[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
  const keys = new Map();

  function clipOf(pitch) {
    const near = data.rendered.reduce((a, b) => Math.abs(b - pitch) < Math.abs(a - pitch) ? b : a);
    const row = chosen.value;
    return [near === data.pitch ? `note-${row}` : `key-${row}-${near}`, 2 ** ((pitch - near) / 12)];
  }

  function press(pitch) {
    if (!keys.has(pitch) || sounding.has(pitch)) return;
    player.pause();
    const [clip, rate] = clipOf(pitch), sound = new Audio(`clips/${clip}.wav`);
    sound.preservesPitch = false;
    sound.playbackRate = rate;
    sound.play().catch(() => {});
    sounding.set(pitch, sound);
    keys.get(pitch).classList.add("down");
  }

  function release(pitch) {
    const sound = sounding.get(pitch);
    if (!sound) return;
    sounding.delete(pitch);
    keys.get(pitch).classList.remove("down");
    const fade = setInterval(() => {
      sound.volume = Math.max(0, sound.volume - 0.08);
      if (!sound.volume) { sound.pause(); clearInterval(fade); }
    }, 10);
  }

  const whites = [];
  for (let pitch = lowest; pitch <= highest; pitch++) if (!isBlack(pitch)) whites.push(pitch);
  for (let pitch = lowest; pitch <= highest; pitch++) {
    const key = element("button", isBlack(pitch) ? "black" : "white", pitch % 12 ? "" : nameOf(pitch));
    key.type = "button";
    key.tabIndex = -1;
    key.setAttribute("aria-label", nameOf(pitch));
    key.dataset.pitch = String(pitch);
    if (isBlack(pitch)) {
      const before = whites.filter((white) => white < pitch).length;
      key.style.width = `${62 / whites.length}%`;
      key.style.left = `${(before - 0.31) * 100 / whites.length}%`;
    }
    key.addEventListener("pointerdown", (event) => { press(pitch); key.setPointerCapture?.(event.pointerId); });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) key.addEventListener(type, () => release(pitch));
    key.addEventListener("click", (event) => { if (!event.detail) { press(pitch); setTimeout(() => release(pitch), 400); } });
    keys.set(pitch, key);
    by("keyboard").append(key);
  }

  // Keys of the computer, by their place, so that they are side by side in every layout.
  const places = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK"];
  let base = clamp(data.pitch - data.pitch % 12, lowest, highest);
  const held = new Map();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input:not([type=checkbox])")) return;
    if (event.key === " ") {
      if (!current || event.target.closest("input, button, a, code")) return;
      event.preventDefault();
      hear(current);
    } else if (/^[0-9]$/.test(event.key) && Number(event.key) < data.names.length) {
      if (!event.repeat) { choose(Number(event.key)); start(`note-${event.key}`); }
    } else if (event.code === "KeyZ" || event.code === "KeyX") {
      base = clamp(base + (event.code === "KeyX" ? 12 : -12), lowest - lowest % 12, highest);
    } else if (places.includes(event.code) && !event.repeat) {
      const pitch = base + places.indexOf(event.code);
      held.set(event.code, pitch);
      press(pitch);
    }
  });
  document.addEventListener("keyup", (event) => { release(held.get(event.code)); held.delete(event.code); });
  addEventListener("blur", () => { for (const pitch of [...sounding.keys()]) release(pitch); });

  // The map: clips of a grid of points, between which the pointer chooses.
  const plane = by("plane");
  if (plane && data.map) {
    const { grid, places: spots, nearest } = data.map, edge = 100 / grid;
    const across = (x) => (x * (grid - 1) + 0.5) * edge; // the outer points are the middles of the outer cells
    let cell = null, dragging = false;
    plane.style.backgroundSize = `${edge}% ${edge}%`;
    spots.forEach(([x, y], number) => {
      const spot = element("span", "spot", String(number));
      spot.style.left = `${across(x)}%`;
      spot.style.top = `${across(1 - y)}%`;
      plane.append(spot);
    });
    const point = (column, row, play = true) => {
      const next = row * grid + column;
      if (next === cell && !play) return;
      cell = next;
      const box = by("cell");
      Object.assign(box.style, { width: `${edge}%`, height: `${edge}%`, left: `${column * edge}%`, top: `${row * edge}%` });
      const [x, y] = [column / (grid - 1), 1 - row / (grid - 1)];
      const shares = spots.map(([a, b]) => 1 / Math.max(Math.hypot(a - x, b - y), 1e-6) ** 4);
      const total = shares.reduce((a, b) => a + b);
      const most = shares.map((share, n) => [share / total, n]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([share]) => share >= 0.01);
      by("where").textContent = `Made of ${most.map(([share, n]) => `${Math.round(share * 100)} % ${data.names[n]}`).join(", ")}.`;
      by("nearest").textContent = nearest[cell].join(", ");
      showRender(data.names.length + cell, "this point of the map");
      start(`map-${cell}`);
    };
    const under = (event) => {
      const box = plane.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => clamp(Math.floor(part * grid), 0, grid - 1));
    };
    plane.addEventListener("pointerdown", (event) => { dragging = true; plane.setPointerCapture(event.pointerId); point(...under(event)); });
    plane.addEventListener("pointermove", (event) => {
      const [column, row] = under(event);
      if (dragging && row * grid + column !== cell) point(column, row);
    });
    for (const type of ["pointerup", "pointercancel"]) plane.addEventListener(type, () => { dragging = false; });
    plane.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Enter: [0, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [column, row] = cell === null ? [grid >> 1, grid >> 1] : [cell % grid + step[0], Math.floor(cell / grid) + step[1]];
      point(clamp(column, 0, grid - 1), clamp(row, 0, grid - 1));
    });
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const done = await gansynth.toClipboard(by(button.dataset.of).textContent);
      by("copied").textContent = done ? "Copied." : "Not copied: select the text and copy it.";
      button.textContent = done ? "Copied" : "Copy";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  function showCommand() {
    const kept = boxes.filter((box) => box.checked).map((box) => box.value);
    command.textContent = `${document.body.dataset.command} --keep ${kept.join(",") || "0"} --as my_bank.yaml`;
  }
  for (const box of boxes) box.addEventListener("change", showCommand);
  if (boxes.some((box) => box.checked)) showCommand();
  choose(0);
})();
