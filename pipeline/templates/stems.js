/*
 * The stems of songs: solo, mute and level for each. Where the page comes from a server, a mixer plays them together
 * (mixer.js). From the disk, where browsers make mixers silent, the player itself plays one stem in place of the clip.
 *
 *   const stems = new gansynth.Stems(player, { start, view });
 *     start(entry, options): plays or loads a song; view: the command that serves the page, or ""
 *   stems.fill(panel, entry, details)   fills the element of the template, for a song
 *   stems.source(entry, details)        returns what the player is to play: { key, src }
 */
"use strict";
gansynth.Stems = class {
  static #MOST_BYTES = 1.5 * 2 ** 30; // of decoded stems
  #player;
  #start;
  #view;
  #songs = new Map(); // by entry: { details, stems: [{ level, mute, solo }], show }
  #mixer = null; // of one song at a time: { entry, mixer, ready }

  constructor(player, { start, view }) {
    this.#player = player;
    this.#start = start;
    this.#view = view;
    player.addEventListener("track", () => {
      for (const [entry, song] of this.#songs) if (song.mixes && this.#isCurrent(entry)) this.#apply(entry);
    });
  }

  source(entry, details) {
    const alone = this.#songs.get(entry)?.stems.findIndex((stem) => stem.solo) ?? -1;
    if (this.#mixes(details) || alone < 0) return { key: entry.number, src: details.links.audio };
    return { key: `${entry.number}:${alone}`, src: details.stems[alone][1] };
  }

  fill(panel, entry, details) {
    panel.hidden = !details.stems.length;
    if (panel.hidden) return;
    const part = (selector) => panel.querySelector(selector);
    if (!this.#songs.has(entry)) this.#songs.set(entry, { stems: details.stems.map(() => ({ level: 1, mute: false, solo: false })) });
    const song = this.#songs.get(entry);
    song.details = details;
    song.mixes = this.#mixes(details);
    panel.open = Boolean(song.open);
    panel.addEventListener("toggle", () => { song.open = panel.open; });
    part("summary span").textContent = details.stems.length;
    const rows = details.stems.map(([name, path, colour], number) => this.#row(entry, song, number, name, path, colour));
    part("ul").replaceChildren(...rows.map((row) => row.root));
    if (!song.mixes) {
      const served = location.protocol !== "file:";
      part(".stems-note").textContent = served
        ? "These stems are too long to be mixed in a browser; one at a time can be heard."
        : "Browsers let no page from the disk mix sounds, so here one stem at a time can be heard. Levels and all else work after this command, run where the job was started:";
      part(".command").hidden = served || !this.#view;
      part(".command code").textContent = this.#view;
    } else {
      part(".stems-note").textContent = "";
      part(".command").hidden = true;
    }
    const reset = part(".stems-reset");
    reset.hidden = !song.mixes;
    reset.addEventListener("click", () => {
      for (const stem of song.stems) Object.assign(stem, { level: 1, mute: false, solo: false });
      this.#changed(entry);
    });
    song.show = (text = "") => {
      for (const row of rows) row.show();
      reset.disabled = this.#isNeutral(song);
      if (song.mixes) part(".stems-note").textContent = text;
      part(".stems-note").hidden = !part(".stems-note").textContent;
    };
    song.show();
  }

  #row(entry, song, number, name, path, colour) {
    const { element } = gansynth, root = element("li"), stem = song.stems[number], link = element("a", "", name);
    link.href = path;
    link.download = "";
    link.dir = "auto";
    link.title = `Download ${name}`;
    root.append(element("i", colour === null ? "" : `c${colour}`), link);
    const button = (kind, letter, text) => {
      const made = element("button", `stem-${kind}`, letter);
      made.type = "button";
      made.setAttribute("aria-label", `${text} ${name}`);
      made.title = text;
      made.addEventListener("click", () => {
        if (!song.mixes) for (const other of song.stems) if (other !== stem) other.solo = false;
        stem[kind] = !stem[kind];
        this.#changed(entry);
      });
      root.append(made);
      return made;
    };
    const solo = button("solo", "S", "Solo"), mute = song.mixes ? button("mute", "M", "Mute") : null;
    const level = song.mixes ? element("input") : null;
    if (level) {
      Object.assign(level, { type: "range", min: "0", max: "140", value: "100", title: "Level; a double click sets it back" });
      level.setAttribute("aria-label", `Level of ${name}`);
      level.addEventListener("input", () => { stem.level = (level.value / 100) ** 2; this.#changed(entry); });
      level.addEventListener("dblclick", () => { stem.level = 1; this.#changed(entry); });
      root.append(level);
    }
    return {
      root,
      show: () => {
        solo.setAttribute("aria-pressed", String(stem.solo));
        mute?.setAttribute("aria-pressed", String(stem.mute));
        root.classList.toggle("silent", !this.#factor(song, stem));
        if (!level) return;
        level.value = String(Math.round(100 * Math.sqrt(stem.level)));
        level.setAttribute("aria-valuetext", stem.level ? `${(20 * Math.log10(stem.level)).toFixed(1)} dB` : "silent");
      },
    };
  }

  #changed(entry) {
    const song = this.#songs.get(entry);
    song.show();
    if (song.mixes) this.#apply(entry);
    else {
      const here = this.#isCurrent(entry);
      this.#start(entry, { at: here ? this.#player.at : 0, play: !here || this.#player.playing });
    }
  }

  /* Reads the stems if needed, sets their levels, and lets the player play them if their song is there. */
  async #apply(entry) {
    const song = this.#songs.get(entry);
    if (this.#isNeutral(song)) {
      if (this.#mixer?.entry === entry) this.#player.sound = null;
      song.show();
      return;
    }
    if (this.#mixer?.entry !== entry) {
      if (this.#mixer) {
        this.#player.sound = null;
        this.#mixer.mixer.close();
        this.#songs.get(this.#mixer.entry).show();
      }
      const { rate, gain, stems } = song.details, mixer = new gansynth.Mixer(stems.map(([, path]) => path), { rate, gain });
      const mine = this.#mixer = { entry, mixer, ready: false };
      const show = (text) => { if (this.#mixer === mine) song.show(text); }; // else it was closed for another song's
      try {
        await mixer.load((number) => show(`Reading stem ${number + 1} of ${stems.length} …`));
        mine.ready = true;
        show();
      } catch (error) {
        mixer.close();
        show(String(error.message));
        if (this.#mixer === mine) this.#mixer = null;
        return;
      }
    }
    if (this.#mixer?.entry !== entry || !this.#mixer.ready) return; // another song's stems are read, or these still are
    song.stems.forEach((stem, number) => this.#mixer.mixer.set(number, this.#factor(song, stem)));
    const wanted = this.#isCurrent(entry) && !this.#isNeutral(song) ? this.#mixer.mixer : null;
    if (this.#player.sound !== wanted) this.#player.sound = wanted;
  }

  #isNeutral(song) { return song.stems.every((stem) => stem.level === 1 && !stem.mute && !stem.solo); }

  #factor(song, stem) {
    return (song.stems.some((one) => one.solo) ? stem.solo : !stem.mute) ? stem.level : 0;
  }

  #isCurrent(entry) { return String(this.#player.track?.key ?? "").split(":")[0] === String(entry.number); }

  #mixes({ seconds, rate, channels, stems }) {
    return location.protocol !== "file:" && seconds * rate * channels * 4 * stems.length <= gansynth.Stems.#MOST_BYTES;
  }
};
