/*
 * A song's piano roll and spectrogram on the same axes: the roll is drawn from the notes, with zoom, colours of one's
 * choice, and what is under the pointer; the spectrogram is a picture, scaled to fit.
 *
 *   const view = new gansynth.Pictures({ seconds, across, spectrogram, roll, colours, label, seek, key });
 *     seconds: length of the clip; across: seconds that the plot spans.
 *     spectrogram: { tiles: [{ src, first, width }], width, height, left, right, top, bottom, low, semitones } or null: the
 *     pictures, each with a part of the plot from pixel `first` on; pixels around the plot in each; and which pitches it
 *     shows, row 0 centred on `low`.
 *     roll: what gansynth/figures/roll_data.py writes, or null; colours: CSS colours by number.
 *     seek(seconds, done): called while the pointer is dragged and when it is let go; key(event): a key on the slider.
 *   view.root                  the element
 *   view.show(at, playing)     moves the playhead; while playing, keeps it in sight
 *   view.removed()             frees what it holds
 */
"use strict";
gansynth.Pictures = class {
  static #SEMITONE = 2.6; // pixels, with all pitches in sight
  static #MOST = 320; // pixels a second of the highest zoom
  static #GROUND = [16, 14, 24];

  #facts;
  #parts = {};
  #zoom = null; // pixels a second; null: as usual
  #near = false; // only the octaves that have notes
  #by = "instrument";
  #ends; // for each note, the latest end up to it: where to begin drawing
  #rgb;
  #sizes;
  #at = 0;

  constructor(facts) {
    this.#facts = facts;
    const { element } = gansynth, { roll, spectrogram } = facts, parts = this.#parts;
    this.root = element("div", "view");
    this.#rgb = facts.colours.map((colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)));
    parts.body = element("div", "view-body");
    parts.axis = element("canvas", "view-axis");
    parts.scroll = element("div", "view-scroll");
    parts.wide = element("div", "view-wide seek");
    parts.wide.setAttribute("role", "slider");
    parts.wide.tabIndex = 0;
    parts.wide.setAttribute("aria-label", facts.label);
    parts.wide.setAttribute("aria-valuemin", "0");
    parts.wide.setAttribute("aria-valuemax", facts.seconds.toFixed(1));
    if (roll) {
      parts.roll = element("canvas", "view-roll");
      parts.roll.setAttribute("aria-hidden", "true");
      let latest = 0;
      const { start, length, release } = roll.notes;
      this.#ends = start.map((from, i) => { latest = Math.max(latest, from + length[i] + release[i]); return latest; });
    }
    if (spectrogram) {
      parts.box = element("div", "view-spectrogram");
      const { tiles, height, left, right, top, bottom } = spectrogram;
      parts.box.append(...tiles.map(({ src, width }, i) => {
        const tile = element("div", "view-tile"), image = new Image(left + width + right, top + height + bottom);
        image.loading = "lazy";
        image.decoding = "async";
        image.draggable = false;
        image.alt = tiles.length > 1 ? `Spectrogram, part ${i + 1}` : "Spectrogram";
        image.src = src;
        tile.append(image);
        return tile;
      }));
    }
    parts.time = element("canvas", "view-time");
    parts.head = element("div", "head");
    parts.hover = element("div", "hover");
    parts.hover.append(element("span"));
    parts.hover.hidden = true;
    parts.note = element("p", "view-note");
    parts.note.hidden = true;
    for (const canvas of [parts.axis, parts.time]) canvas.setAttribute("aria-hidden", "true");
    parts.wide.append(...[parts.roll, parts.box, parts.time, parts.head, parts.hover].filter(Boolean));
    parts.scroll.append(parts.wide);
    parts.body.append(parts.axis, parts.scroll, parts.note);
    this.root.append(this.#tools(), parts.body);
    parts.scroll.addEventListener("scroll", () => this.#draw(), { passive: true });
    parts.scroll.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // the page scrolls as ever
      event.preventDefault();
      this.#magnify(event.deltaY < 0 ? 1.25 : 0.8, event.clientX);
    }, { passive: false });
    gansynth.scrub(parts.wide, {
      timeAt: (event, box) => gansynth.clamp((event.clientX - box.left) / box.width * facts.across, 0, facts.seconds),
      seek: facts.seek,
      tapOnly: () => parts.scroll.scrollWidth > parts.scroll.clientWidth + 1,
    });
    parts.wide.addEventListener("keydown", (event) => facts.key(event));
    parts.wide.addEventListener("pointermove", (event) => this.#point(event));
    parts.wide.addEventListener("pointerleave", () => { parts.hover.hidden = parts.note.hidden = true; });
    this.#sizes = new ResizeObserver(() => this.#arrange());
    this.#sizes.observe(parts.scroll);
  }

  removed() { this.#sizes.disconnect(); }

  show(at, playing) {
    const { wide, head, scroll } = this.#parts, { across, seconds } = this.#facts;
    this.#at = at;
    head.style.left = `${100 * at / across}%`;
    wide.setAttribute("aria-valuenow", at.toFixed(1));
    wide.setAttribute("aria-valuetext", `${gansynth.clock(at)} of ${gansynth.clock(seconds)}`);
    if (playing && scroll.scrollWidth > scroll.clientWidth + 1) {
      const x = at / across * wide.clientWidth - scroll.scrollLeft;
      if (x < 0 || x > 0.85 * scroll.clientWidth) scroll.scrollLeft += x - 0.2 * scroll.clientWidth;
    }
  }

  #tools() {
    const { element } = gansynth, { roll } = this.#facts, tools = element("div", "view-tools");
    const button = (text, label, action) => {
      const made = element("button", "", text);
      made.type = "button";
      made.setAttribute("aria-label", label);
      made.title = label;
      made.addEventListener("click", action);
      tools.append(made);
      return made;
    };
    button("−", "Zoom out", () => this.#magnify(0.5));
    button("+", "Zoom in", () => this.#magnify(2));
    button("All", "Show the whole song", () => { this.#zoom = 0; this.#arrange(); });
    if (!roll || !roll.notes.start.length) return tools;
    const near = button("Octaves", "Show only the octaves that have notes", () => {
      this.#near = !this.#near;
      near.setAttribute("aria-pressed", String(this.#near));
      this.#arrange();
    });
    near.setAttribute("aria-pressed", "false");
    const label = element("label"), select = element("select");
    label.append(element("span", "sr", "Colours"), select);
    for (const by of ["instrument", "track", "velocity"]) select.add(new Option(`by ${by}`, by));
    select.addEventListener("change", () => { this.#by = select.value; this.#draw(); });
    tools.append(label);
    return tools;
  }

  /* Zooms around a place in the window, the playhead or the middle. */
  #magnify(factor, clientX = null) {
    const { scroll, wide } = this.#parts, { across } = this.#facts, box = scroll.getBoundingClientRect();
    const before = wide.clientWidth, head = this.#at / across * before - scroll.scrollLeft;
    const x = clientX !== null ? clientX - box.left : head > 0 && head < box.width ? head : box.width / 2;
    const place = (scroll.scrollLeft + x) / before;
    this.#zoom = gansynth.clamp(before / across * factor, box.width / across, gansynth.Pictures.#MOST);
    this.#arrange();
    scroll.scrollLeft = place * wide.clientWidth - x;
  }

  /* The pitches in sight: [lowest, above the highest]. */
  get #pitches() {
    const { roll, spectrogram } = this.#facts;
    let low = spectrogram ? spectrogram.low : 24, high = spectrogram ? Math.ceil(spectrogram.low + spectrogram.semitones) : 108;
    const pitch = roll?.notes.pitch ?? [];
    if (pitch.length) {
      const least = pitch.reduce((a, b) => Math.min(a, b)), most = pitch.reduce((a, b) => Math.max(a, b));
      const octaves = [Math.floor(least / 12) * 12, Math.floor(most / 12) * 12 + 12];
      if (this.#near) [low, high] = octaves;
      else { low = Math.min(low, octaves[0]); high = Math.max(high, most + 1); }
    }
    return [low, high];
  }

  get #semitone() { // pixels
    const [low, high] = this.#pitches, { roll, box } = this.#parts, usual = (roll && box ? 95 : 60) * gansynth.Pictures.#SEMITONE;
    return Math.max(gansynth.Pictures.#SEMITONE, usual / (high - low));
  }

  /* Sets sizes: after a zoom, and when the window changes. */
  #arrange() {
    const { scroll, wide, roll, box, time, axis } = this.#parts, { across, spectrogram, per_second: usual } = this.#facts;
    const fit = scroll.clientWidth / across;
    if (!fit) return;
    const perSecond = this.#zoom === null ? Math.max(fit, usual) : Math.max(fit, this.#zoom);
    const width = Math.round(perSecond * across), semitone = this.#semitone, [low, high] = this.#pitches;
    const height = Math.round((high - low) * semitone);
    wide.style.width = `${width}px`;
    for (const canvas of [roll, time]) if (canvas) canvas.style.width = `${scroll.clientWidth}px`;
    if (roll) roll.style.height = `${height}px`;
    time.style.height = "26px";
    if (box) {
      const across_ = width / spectrogram.width, down = spectrogram.semitones * semitone / spectrogram.height;
      // The plot's lower edge, above that of the box: a pitch is in the middle of its semitone, and of the middle one of its three rows.
      const bottom = (spectrogram.low - low + 0.5 - 0.5 / 3) * semitone;
      box.style.height = `${height}px`;
      spectrogram.tiles.forEach(({ first, width: pixels }, i) => {
        const tile = box.children[i], image = tile.firstElementChild, begin = first * across_, { left, right, top } = spectrogram;
        tile.style.left = `${begin}px`;
        tile.style.width = `${pixels * across_}px`;
        image.style.width = `${(left + pixels + right) * across_}px`;
        image.style.height = `${(top + spectrogram.height + spectrogram.bottom) * down}px`;
        image.style.left = `${-left * across_}px`;
        image.style.top = `${height - bottom - (top + spectrogram.height) * down}px`;
      });
    }
    axis.style.height = `${(roll ? height : 0) + (box ? height : 0)}px`;
    this.#axis(low, high, semitone, height);
    this.#draw();
  }

  #context(canvas) { // a canvas in CSS pixels, sharp on any screen
    const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    return [context, width, height];
  }

  #axis(low, high, semitone, height) {
    const { axis, roll, box } = this.#parts, [context, width] = this.#context(axis);
    context.font = "11px Helvetica, Arial, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillStyle = "#a5a2ae";
    for (const top of [...(roll ? [0] : []), ...(box ? [roll ? height : 0] : [])]) {
      for (let pitch = Math.ceil(low / 12) * 12; pitch < high; pitch += 12) {
        const y = gansynth.clamp(top + height - (pitch - low + 0.5) * semitone, top + 6, top + height - 6);
        context.fillText(`C${pitch / 12 - 1}`, width - 8, y);
      }
    }
  }

  #draw() {
    const { roll, time, scroll, wide } = this.#parts;
    if (!wide.clientWidth) return;
    const perSecond = wide.clientWidth / this.#facts.across, from = scroll.scrollLeft / perSecond;
    this.#clock(time, perSecond, from);
    if (roll) this.#notes(roll, perSecond, from);
  }

  #clock(canvas, perSecond, from) {
    const [context, width] = this.#context(canvas);
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
    const step = steps.find((s) => s * perSecond >= 70) ?? 3600, tenths = step < 1;
    context.font = "11px Helvetica, Arial, sans-serif";
    context.fillStyle = context.strokeStyle = "#a5a2ae";
    context.textAlign = "center";
    for (let i = Math.ceil(from / step); i * step <= from + width / perSecond; i++) {
      const x = (i * step - from) * perSecond;
      context.fillRect(Math.round(x), 0, 1, 4);
      const text = gansynth.clock(i * step) + (tenths ? `.${Math.round(i * step * 10) % 10}` : "");
      const half = context.measureText(text).width / 2; // labels at the edges are moved inside
      context.fillText(text, gansynth.clamp(x, half, width - half), 18);
    }
  }

  #colour(n) { // RGB of a note
    const { notes, colours } = this.#facts.roll, mix = (a, b, part) => a.map((v, i) => v + (b[i] - v) * part);
    if (this.#by === "track") return this.#rgb[notes.track[n] % this.#rgb.length];
    if (this.#by === "velocity") { // dark blue to yellow, as viridis
      const scale = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
      const x = (0.15 + 0.85 * notes.velocity[n] / 127) * (scale.length - 1), i = Math.min(Math.floor(x), scale.length - 2);
      return mix(scale[i], scale[i + 1], x - i);
    }
    const own = this.#rgb[colours[notes.instrument[n]]];
    return notes.fraction?.[n] ? mix(own, this.#rgb[colours[notes.next[n]]], notes.fraction[n]) : own;
  }

  #notes(canvas, perSecond, from) {
    const { notes, bends, gains } = this.#facts.roll, [context, width, height] = this.#context(canvas);
    const [low, high] = this.#pitches, semitone = height / (high - low), until = (from + width / perSecond) * 1000;
    const xOf = (ms) => (ms / 1000 - from) * perSecond, yOf = (pitch) => height - (pitch - low + 1) * semitone;
    const tall = Math.max(semitone - (semitone > 5 ? 1 : 0), 1.6);
    context.fillStyle = `rgb(${gansynth.Pictures.#GROUND})`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = "rgb(255 255 255 / .07)";
    for (let pitch = Math.ceil(low / 12) * 12; pitch < high; pitch += 12) context.fillRect(0, yOf(pitch), width, semitone);
    // Later notes are in front of earlier ones.
    for (let n = this.#first(from * 1000); n < notes.start.length && notes.start[n] < until; n++) {
      const start = notes.start[n], end = start + notes.length[n], gone = end + notes.release[n];
      if (gone < from * 1000) continue;
      const [red, green, blue] = this.#colour(n), strength = 0.45 + 0.55 * notes.velocity[n] / 127;
      const bend = bends[n], gain = gains[n];
      const bar = (a, b, pitch, alpha) => {
        context.fillStyle = `rgb(${red} ${green} ${blue} / ${alpha})`;
        context.fillRect(xOf(a), yOf(pitch), Math.max(xOf(b) - xOf(a), 1), tall);
      };
      if (!bend && !gain) {
        bar(start, end, notes.pitch[n], strength);
        bar(end, gone, notes.pitch[n], strength * 0.35);
      } else { // along its bends, as bright as its gain
        const times = [...new Set([start, end, ...(bend ?? []).map(([t]) => t), ...(gain ?? []).map(([t]) => t)])].filter((t) => t < gone).sort((a, b) => a - b);
        const at = (steps, t) => { let value = 0; for (const [when, v] of steps ?? []) { if (when > t) break; value = v; } return value; };
        times.forEach((t, i) => {
          if (t < start) return;
          const level = at(gain, t), alpha = level === null ? 0.08 : Math.min(1, Math.max(0.12, 10 ** (level / 40))) * strength;
          bar(t, times[i + 1] ?? gone, notes.pitch[n] + at(bend, t), t >= end ? alpha * 0.35 : alpha);
        });
      }
      if (xOf(end) - xOf(start) > 3) {
        context.fillStyle = "rgb(255 255 255 / .45)";
        context.fillRect(xOf(start), yOf(notes.pitch[n] + (bend?.[0]?.[1] ?? 0)), 1, tall);
      }
    }
  }

  #first(ms) { // the first note that may be heard at a time
    let low = 0, high = this.#ends.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.#ends[middle] < ms) low = middle + 1; else high = middle; }
    return low;
  }

  /* Says what is under the pointer. */
  #point(event) {
    if (event.pointerType === "touch") return;
    const { wide, hover, note, roll, body } = this.#parts, { across, seconds } = this.#facts;
    const box = wide.getBoundingClientRect(), at = gansynth.clamp((event.clientX - box.left) / box.width * across, 0, seconds);
    hover.hidden = false;
    hover.style.left = `${100 * at / across}%`;
    hover.firstElementChild.textContent = gansynth.clock(at);
    const found = roll ? this.#noteAt(event, at * 1000) : -1;
    note.hidden = found < 0;
    if (found < 0) return;
    const { notes, instruments } = this.#facts.roll, pitch = notes.pitch[found], names = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
    const seconds_ = (ms) => `${gansynth.clock(ms / 1000)}${(ms / 1000 % 1).toFixed(2).slice(1)}`;
    const name = notes.program[found] === 128 ? `key ${pitch}` : `${names[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
    note.textContent = `${name}, ${instruments[notes.instrument[found]]}, velocity ${notes.velocity[found]}, ${seconds_(notes.start[found])} to ${seconds_(notes.start[found] + notes.length[found])}`;
    const frame = body.getBoundingClientRect(), x = event.clientX - frame.left;
    note.style.left = `${gansynth.clamp(x + 12, 0, Math.max(frame.width - note.offsetWidth, 0))}px`;
    note.style.top = `${Math.max(event.clientY - frame.top - 34, 0)}px`;
  }

  #noteAt(event, ms) {
    const { notes, bends } = this.#facts.roll, box = this.#parts.roll.getBoundingClientRect(), [low, high] = this.#pitches;
    const pitch = high - (event.clientY - box.top) / box.height * (high - low);
    if (pitch < low || pitch >= high) return -1;
    let found = -1;
    for (let n = this.#first(ms); n < notes.start.length && notes.start[n] <= ms; n++) {
      if (notes.start[n] + notes.length[n] + notes.release[n] < ms) continue;
      let own = notes.pitch[n];
      for (const [when, value] of bends[n] ?? []) if (when <= ms) own = notes.pitch[n] + value;
      if (pitch >= own && pitch < own + 1) found = n;
    }
    return found;
  }
};
