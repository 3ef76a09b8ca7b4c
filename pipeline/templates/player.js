/*
 * The player: one <audio> element and the bar at the foot of the page (player.html, player.css; needs base.js, wave.js).
 *
 *   const player = new gansynth.Player(document.getElementById("player"), { next, previous });
 *
 * next, previous: functions that the buttons, keys and headphones call; left out, the buttons are hidden.
 *
 *   player.load(track, { at: 0, play: false })   shows and prepares a track. Loading what is loaded keeps its position.
 *     track: { key, title, detail, src, seconds, peaks, href }: key tells tracks apart; seconds is the length; peaks is
 *     a Uint8Array or null; detail (a folder) and href (the title's link) may be "".
 *   player.play(), pause(), toggle(), seek(seconds), skip(seconds)
 *   player.track, player.at (seconds), player.playing, player.loop ([from, to] in seconds, or null)
 *   player.sound = { start(seconds), stop(), volume, at }   is heard instead of the file, which keeps the time; null: the
 *     file again. A new track ends it. Speed is 1 meanwhile, as only the browser's own players keep the pitch.
 *   player.key(event)                            handles a keydown of the page; returns whether it was one of its keys
 *   player.owns(element)                         whether the space key is for a button that Tab has led to
 *   player.addEventListener(type, listener)      "track", "play", "pause", "time" (many times a second), "ended", "error"
 */
"use strict";
gansynth.Player = class extends EventTarget {
  #audio = new Audio();
  #bar;
  #wanted = null; // a position asked for before the file's length is known
  #from = null; // where the loop begins, while its end is not set
  #sound = null; // see `sound`
  #tabbed = false; // whether the focus was moved with Tab, and not with a click

  constructor(bar, { next = null, previous = null } = {}) {
    super();
    this.#bar = bar;
    this.track = null;
    this.loop = null;
    this.next = next;
    this.previous = previous;
    this.#audio.preload = "none";
    this.#audio.preservesPitch = true;
    bar.append(this.#audio);
    const part = this.#part.bind(this), audio = this.#audio;
    const on = (element, type, action) => element.addEventListener(type, action);
    on(audio, "play", () => { this.#state("play"); requestAnimationFrame(() => this.#follow()); });
    on(audio, "pause", () => this.#state("pause"));
    on(audio, "ended", () => {
      if (this.loop) { this.seek(this.loop[0]); this.play(); } else { this.seek(0); this.#tell("ended"); }
    });
    on(audio, "loadedmetadata", () => {
      if (this.#wanted !== null) audio.currentTime = this.#wanted;
      this.#wanted = null;
    });
    on(audio, "timeupdate", () => { this.#turn(); this.#show(); }); // also in a tab that is not seen
    on(audio, "seeked", () => this.#show());
    on(audio, "playing", () => this.#sound?.start(audio.currentTime));
    on(audio, "seeked", () => { if (!audio.paused) this.#sound?.start(audio.currentTime); });
    for (const type of ["pause", "waiting", "seeking", "ended"]) on(audio, type, () => this.#sound?.stop());
    on(audio, "timeupdate", () => { // the two may have different clocks
      if (this.playing && !audio.seeking && Math.abs((this.#sound?.at ?? audio.currentTime) - audio.currentTime) > 0.1) this.#sound.start(audio.currentTime);
    });
    on(audio, "error", () => {
      if (!this.track || !audio.currentSrc) return;
      part(".bar-status").textContent = `${this.track.title} cannot be played`;
      part(".bar-title span").textContent = "cannot be played";
      this.#tell("error");
    });
    on(part(".bar-play"), "click", () => this.toggle());
    for (const [name, action] of [["previous", previous], ["next", next]]) {
      part(`.bar-${name}`).hidden = !action;
      on(part(`.bar-${name}`), "click", () => action?.());
    }
    on(part(".bar-loop"), "click", () => this.setLoop());
    on(part(".bar-speed"), "change", (event) => { audio.playbackRate = audio.defaultPlaybackRate = Number(event.target.value); });
    on(part(".bar-more"), "click", () => {
      const open = bar.classList.toggle("more");
      part(".bar-more").setAttribute("aria-expanded", String(open));
    });
    const volume = part(".bar-volume input");
    on(volume, "input", () => {
      audio.volume = (volume.value / 100) ** 2; // about as loud as it looks
      if (this.#sound) this.#sound.volume = audio.volume;
      try { localStorage.setItem("gansynth-volume", volume.value); } catch { /* not kept */ }
    });
    try { volume.value = localStorage.getItem("gansynth-volume") ?? "100"; } catch { /* not kept */ }
    audio.volume = (volume.value / 100) ** 2;
    gansynth.scrub(part(".bar-wave"), {
      timeAt: (event, box) => (event.clientX - box.left) / box.width * this.seconds,
      seek: (seconds) => this.seek(seconds),
    });
    on(part(".bar-wave"), "keydown", (event) => this.sliderKey(event));
    new ResizeObserver(() => this.#draw()).observe(part(".bar-wave"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(() => this.#draw()));
    addEventListener("keydown", (event) => { if (event.key === "Tab") this.#tabbed = true; }, true);
    addEventListener("pointerdown", () => { this.#tabbed = false; }, true);
    this.#controls();
  }

  get at() { return this.#wanted ?? this.#audio.currentTime; }

  get playing() { return !this.#audio.paused; }

  get sound() { return this.#sound; }

  set sound(sound) {
    const audio = this.#audio, speed = this.#part(".bar-speed");
    this.#sound?.stop();
    this.#sound = sound;
    audio.muted = Boolean(sound);
    speed.disabled = Boolean(sound);
    if (sound) {
      speed.value = "1";
      audio.playbackRate = audio.defaultPlaybackRate = 1;
      sound.volume = audio.volume;
      if (this.playing) sound.start(audio.currentTime);
    }
  }

  get seconds() { return this.track ? this.track.seconds : 0; }

  load(track, { at = 0, play = false } = {}) {
    if (!this.track || this.track.key !== track.key) {
      this.track = track;
      this.sound = null;
      this.loop = this.#from = null;
      this.#audio.src = track.src;
      this.#audio.playbackRate = this.#audio.defaultPlaybackRate;
      this.#wanted = at;
      this.#bar.hidden = false;
      const title = this.#part(".bar-title a");
      title.textContent = track.title;
      if (track.href) title.href = track.href; else title.removeAttribute("href");
      this.#part(".bar-title span").textContent = track.detail || "";
      this.#part(".bar-time .of").textContent = gansynth.clock(track.seconds);
      this.#part(".bar-wave").setAttribute("aria-valuemax", track.seconds.toFixed(1));
      this.#loopButton();
      if ("mediaSession" in navigator) {
        navigator.mediaSession.metadata = new MediaMetadata({ title: track.title, artist: track.detail || "GANSynth", album: document.title });
      }
      this.#tell("track");
      this.#show();
    }
    if (play) this.play();
  }

  play() { if (this.track) this.#audio.play().catch(() => {}); } // what went wrong, the error event says

  pause() { this.#audio.pause(); }

  toggle() { if (this.playing) this.pause(); else this.play(); }

  seek(seconds) {
    const time = gansynth.clamp(seconds, 0, this.seconds);
    if (this.#audio.readyState > 0) this.#audio.currentTime = time; else this.#wanted = time;
    this.#show();
  }

  skip(seconds) { this.seek(this.at + seconds); }

  /* Sets the loop's beginning, then its end, then removes it; what the A-B button does. */
  setLoop() {
    if (!this.track) return;
    if (this.loop) this.loop = this.#from = null;
    else if (this.#from === null) this.#from = this.at;
    else {
      const [from, to] = [Math.min(this.#from, this.at), Math.max(this.#from, this.at)];
      this.#from = null;
      if (to - from >= 0.05) { this.loop = [from, to]; this.seek(from); }
    }
    this.#loopButton();
    this.#draw();
  }

  /* Tells whether the space key belongs to a button or link, because Tab has led there; a click leaves it to the player. */
  owns(element) { return this.#tabbed && Boolean(element.matches?.("button, a, summary, input[type=checkbox]")); }

  /* Handles a key of the page. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return false;
    const target = event.target, is = (selector) => target.matches?.(selector);
    if (is("textarea, select, input:not([type=range], [type=checkbox])")) return false;
    switch (event.key) {
      case " ":
        if (this.owns(target) || !this.track) return false;
        this.toggle();
        target.addEventListener("keyup", (up) => up.preventDefault(), { once: true }); // a button is pressed when it is let go
        break;
      case "ArrowLeft": case "ArrowRight":
        if (!this.track || is("input[type=range], pre")) return false;
        this.skip(event.key === "ArrowLeft" ? -5 : 5);
        break;
      case "n": if (!this.next) return false; this.next(); break;
      case "p": if (!this.previous) return false; this.previous(); break;
      case "l": this.setLoop(); break;
      default: return false;
    }
    event.preventDefault();
    return true;
  }

  /* The keys of a slider that shows the position. */
  sliderKey(event) {
    const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 }[event.key];
    if (step) this.skip(step);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.seconds);
    else if (event.key === "Enter" || event.key === " ") this.toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #part(selector) { return this.#bar.querySelector(selector); }

  #tell(type) { this.dispatchEvent(new Event(type)); }

  #state(type) {
    const playing = type === "play", { mediaSession } = navigator;
    this.#bar.classList.toggle("playing", playing);
    this.#part(".bar-play").setAttribute("aria-label", playing ? "Pause" : "Play");
    if (mediaSession) mediaSession.playbackState = playing ? "playing" : "paused";
    this.#tell(type);
    this.#show();
  }

  #follow() {
    if (!this.playing) return;
    this.#turn();
    this.#show();
    requestAnimationFrame(() => this.#follow());
  }

  #turn() { // back to the loop's beginning
    if (this.loop && this.playing && this.at >= this.loop[1]) this.seek(this.loop[0]);
  }

  #show() {
    if (!this.track) return;
    const { at } = this, slider = this.#part(".bar-wave");
    this.#part(".bar-time .now").textContent = gansynth.clock(at);
    slider.setAttribute("aria-valuenow", at.toFixed(1));
    slider.setAttribute("aria-valuetext", `${gansynth.clock(at)} of ${gansynth.clock(this.seconds)}`);
    this.#draw();
    this.#tell("time");
  }

  #draw() {
    if (!this.track) return;
    const length = this.seconds || 1, loop = this.loop ?? (this.#from === null ? null : [this.#from, this.#from]);
    gansynth.drawWave(this.#part("canvas"), this.track.peaks, { played: this.at / length, loop: loop && loop.map((s) => s / length) });
  }

  #loopButton() {
    const button = this.#part(".bar-loop"), begun = this.#from !== null;
    button.textContent = begun ? "A–…" : "A–B";
    button.classList.toggle("on", begun || Boolean(this.loop));
    button.setAttribute("aria-label", this.loop ? "Stop looping" : begun ? "Loop to here (B)" : "Loop from here (A)");
  }

  /* Headphones, keyboards with media keys, and lock screens. */
  #controls() {
    if (!("mediaSession" in navigator)) return;
    const actions = {
      play: () => this.play(), pause: () => this.pause(),
      previoustrack: this.previous, nexttrack: this.next,
      seekbackward: (details) => this.skip(-(details.seekOffset || 10)),
      seekforward: (details) => this.skip(details.seekOffset || 10),
      seekto: (details) => this.seek(details.seekTime),
    };
    for (const [name, action] of Object.entries(actions)) {
      try { navigator.mediaSession.setActionHandler(name, action); } catch { /* not known to this browser */ }
    }
    this.addEventListener("track", () => this.#position());
    for (const type of ["play", "pause"]) this.addEventListener(type, () => this.#position());
    this.#audio.addEventListener("seeked", () => this.#position());
  }

  #position() {
    const duration = this.seconds, position = gansynth.clamp(this.at, 0, duration);
    if (duration) navigator.mediaSession.setPositionState?.({ duration, position, playbackRate: this.#audio.playbackRate });
  }
};

/*
 * Makes an element scrub: press, and drag. On a touch screen, a drag that begins sideways scrubs if the element cannot
 * be scrolled sideways itself; otherwise a tap seeks.
 * timeAt(event, box): the time under a pointer, with the element's bounding box; seek(seconds, done).
 */
gansynth.scrub = (element, { timeAt, seek, tapOnly = () => false }) => {
  let held = false;
  const at = (event) => timeAt(event, element.getBoundingClientRect());
  element.addEventListener("pointerdown", (event) => {
    if (event.button || (event.pointerType === "touch" && tapOnly())) return;
    held = true;
    element.setPointerCapture(event.pointerId);
    seek(at(event), false);
  });
  element.addEventListener("pointermove", (event) => { if (held) seek(at(event), false); });
  const end = (event) => { if (held) { held = false; seek(at(event), true); } };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", () => { held = false; });
  element.addEventListener("click", (event) => { if (event.pointerType === "touch" && tapOnly()) seek(at(event), true); });
  element.addEventListener("dragstart", (event) => event.preventDefault()); // an image would be dragged instead
};
