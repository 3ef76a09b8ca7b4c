/* The index of all inputs of the job, and the details that are read when they are needed. */
"use strict";
gansynth.REPAIRED = 1;
gansynth.SHORTENED = 2;
gansynth.FAILED = 4;

gansynth.Corpus = class {
  static #AHEAD = 4; // files read at the same time
  static #KEPT = 100; // files of details in memory

  #facts;
  #details = new Map(); // promises by number of the file, the one used last at the end
  #read = new Map(); // what they brought

  /* facts: what page.py says of the corpus, see _html there. */
  constructor(facts) {
    this.#facts = facts;
    this.entries = [];
    this.complete = facts.inputs === 0;
  }

  /* Reads the index, in order; `grown` is called after each of its files. */
  async load(grown) {
    const { inputs, index_songs: size } = this.#facts, count = Math.ceil(inputs / size);
    const name = (file) => `index-${String(file + 1).padStart(4, "0")}`;
    const begun = [];
    for (let file = 0; file < count; file++) {
      for (let next = begun.length; next < Math.min(count, file + gansynth.Corpus.#AHEAD); next++) begun.push(this.#file(name(next)));
      this.#add(await begun[file]);
      begun[file] = null;
      this.complete = file === count - 1;
      grown();
    }
  }

  /* Promises the details of an entry, see _song and _failure in page.py. */
  async details(entry) {
    const size = this.#facts.detail_songs, file = Math.floor(entry.number / size);
    let chunk = this.#details.get(file);
    this.#details.delete(file);
    chunk ??= this.#file(`songs-${String(file + 1).padStart(4, "0")}`).then((read) => { this.#read.set(file, read); return read; });
    this.#details.set(file, chunk);
    while (this.#details.size > gansynth.Corpus.#KEPT) {
      const [oldest] = this.#details.keys();
      this.#details.delete(oldest);
      this.#read.delete(oldest);
    }
    try { return (await chunk)[entry.number % size]; } catch (error) { this.#details.delete(file); throw error; }
  }

  /* Returns the details of an entry if they are in memory. */
  detailsNow(entry) {
    const size = this.#facts.detail_songs;
    return this.#read.get(Math.floor(entry.number / size))?.[entry.number % size];
  }

  /*
   * Lists the entries that fit, in order.
   * query: { words, sort, show, instrument, program, from, to }; sort is a key, with a minus for descending.
   * In the order of names, the best matches are first: the exact name, then names that begin with the words.
   */
  find({ words, sort, show, instrument, program, from, to }) {
    const wanted = gansynth.plain(words).split(/\s+/).filter(Boolean), phrase = gansynth.plain(words.trim());
    const marks = { failed: gansynth.FAILED, repaired: gansynth.REPAIRED, shortened: gansynth.SHORTENED }[show];
    const fits = (entry) =>
      (!marks || entry.marks & marks) && (show !== "rendered" || !(entry.marks & gansynth.FAILED)) &&
      (!instrument || entry.instruments.includes(instrument)) &&
      (program === "" || entry.programs.includes(Number(program))) &&
      (from === "" || entry.seconds >= Number(from)) && (to === "" || entry.seconds <= Number(to)) &&
      wanted.every((word) => this.#text(entry).includes(word));
    const found = this.entries.filter(fits), key = sort.replace("-", ""), sign = sort.startsWith("-") ? -1 : 1;
    if (!phrase && key === "name") return found;
    const rank = phrase ? new Map(found.map((entry) => [entry, this.#rank(entry, phrase)])) : null;
    const isExact = (entry) => rank && rank.get(entry) === 0 ? 0 : 1;
    const order = key === "name" ? (a, b) => rank.get(a) - rank.get(b)
      : (a, b) => isExact(a) - isExact(b) || sign * (a[key] - b[key]);
    return found.sort((a, b) => order(a, b) || a.number - b.number);
  }

  /* Returns the entry of a name, or undefined. */
  named(name) { return this.entries.find((entry) => entry.name === name); }

  #file(name) { return gansynth.read(name, `${this.#facts.folder}/${name}`, this.#facts.files[name]); }

  #add(columns) {
    const { names, seconds, notes, instruments, programs, marks, instrument_names: words } = columns;
    for (let i = 0; i < names.length; i++) {
      const name = names[i], at = name.lastIndexOf("/"), file = name.slice(at + 1);
      const title = marks[i] & gansynth.FAILED ? file : file.replace(/\.mid$/, "");
      this.entries.push({
        number: this.entries.length, name, title: title || "untitled", folder: at > 0 ? name.slice(0, at) : "",
        seconds: seconds[i], notes: notes[i], instruments: instruments[i].map((n) => words[n]), programs: programs[i], marks: marks[i],
      });
    }
  }

  #text(entry) { // made at the first search; most visits have none
    return entry.text ??= gansynth.plain([
      entry.name, ...entry.instruments, ...entry.programs.map((n) => this.#facts.programs[n]), entry.marks & gansynth.FAILED ? "failed" : "",
    ].join(" "));
  }

  #rank(entry, phrase) {
    const title = gansynth.plain(entry.title), name = gansynth.plain(entry.name);
    if (title === phrase || name === phrase) return 0;
    if (title.startsWith(phrase)) return 1;
    const at = title.indexOf(phrase);
    if (at < 0) return name.includes(phrase) ? 4 : 5;
    return /[\p{L}\p{N}]/u.test(title[at - 1]) ? 3 : 2;
  }
};
