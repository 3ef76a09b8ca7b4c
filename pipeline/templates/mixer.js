/*
 * The mixer: the stems of a song, decoded into memory, which all begin at the same sample (Web Audio; needs nothing).
 *
 *   const mixer = new gansynth.Mixer(sources, { rate, gain });
 *     sources: addresses of sound files of one length; rate: their sample rate; gain: factor that makes their sum the clip
 *   await mixer.load(told)            reads them; told(number) is called before each
 *   mixer.set(number, factor)         sets the level of a stem: 1 as rendered, 0 silent
 *   mixer.start(seconds), stop()      for the player, see `sound` there
 *   mixer.at                          position in seconds; null while it does not play
 *   mixer.volume = 0.5                of all together
 *   mixer.close()                     frees the memory
 *
 * The context has the stems' own sample rate, so that nothing is resampled, and gain is applied in float.
 */
"use strict";
gansynth.Mixer = class {
  static #LEAD = 0.03; // seconds from a call of start to the first sample: time to start many sources
  #context;
  #sources;
  #buffers = [];
  #levels;
  #master;
  #playing = [];
  #closed = new AbortController();
  #begun = null; // [time of the context, position] of the last start

  constructor(sources, { rate, gain, context = new AudioContext({ sampleRate: rate }) }) {
    this.#context = context;
    this.#sources = sources;
    this.#master = new GainNode(context);
    const scaled = new GainNode(context, { gain });
    scaled.connect(this.#master).connect(context.destination);
    this.#levels = sources.map(() => { const level = new GainNode(context); level.connect(scaled); return level; });
  }

  async load(told = () => {}) {
    for (const [number, source] of this.#sources.entries()) {
      told(number);
      const answer = await fetch(source, { signal: this.#closed.signal });
      if (!answer.ok) throw new Error(`${decodeURIComponent(source)} cannot be read`);
      this.#buffers[number] = await this.#context.decodeAudioData(await answer.arrayBuffer());
    }
  }

  set(number, factor) { this.#ramp(this.#levels[number].gain, factor); }

  set volume(factor) { this.#ramp(this.#master.gain, factor); }

  get at() { return this.#begun && this.#begun[1] + Math.max(this.#context.currentTime - this.#begun[0], 0); }

  start(seconds) {
    this.stop();
    if (this.#context instanceof AudioContext) this.#context.resume();
    const when = this.#context.currentTime + gansynth.Mixer.#LEAD, position = seconds + gansynth.Mixer.#LEAD;
    this.#begun = [when, position];
    this.#playing = this.#buffers.map((buffer, number) => {
      const source = new AudioBufferSourceNode(this.#context, { buffer });
      source.connect(this.#levels[number]);
      source.start(when, position);
      return source;
    });
  }

  stop() {
    for (const source of this.#playing) { source.stop(); source.disconnect(); }
    this.#playing = [];
    this.#begun = null;
  }

  close() {
    this.stop();
    this.#closed.abort();
    this.#buffers = [];
    if (this.#context instanceof AudioContext && this.#context.state !== "closed") this.#context.close();
  }

  #ramp(parameter, value) { // at once before it plays, else without a click
    if (this.#begun) parameter.setTargetAtTime(value, this.#context.currentTime, 0.01);
    else { parameter.cancelScheduledValues(0); parameter.value = value; }
  }
};
