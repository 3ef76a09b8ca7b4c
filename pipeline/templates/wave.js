/* Waveforms: bars on a canvas, from the peaks that were measured when the song was mixed. */
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let colours = null;
  dark.addEventListener("change", () => { colours = null; });

  function palette() {
    if (!colours) {
      const style = getComputedStyle(document.documentElement);
      colours = Object.fromEntries(["ink", "soft", "mark", "wave", "loop"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    }
    return colours;
  }

  /* Decodes base64 to Uint8Array; null for what an earlier release did not measure. */
  gansynth.decodePeaks = (text) => text ? Uint8Array.from(atob(text), (c) => c.charCodeAt(0)) : null;

  /*
   * Draws a waveform over the whole canvas.
   * peaks: Uint8Array or null, which draws a line; played: part that has been heard, 0 to 1; loop: [from, to], 0 to 1.
   * The loudest bar has the full height, so that quiet songs have a shape, too.
   */
  gansynth.drawWave = (canvas, peaks, { played = 0, loop = null } = {}) => {
    const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d"), { wave, mark, loop: shade } = palette();
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    if (loop) {
      context.fillStyle = shade;
      context.fillRect(loop[0] * width, 0, Math.max((loop[1] - loop[0]) * width, 1), height);
    }
    const step = 3, bars = Math.max(1, Math.floor(width / step));
    const highest = peaks ? Math.max(1, ...peaks) : 1, border = played * width;
    for (const [colour, from, to] of [[mark, 0, border], [wave, border, width]]) {
      if (to <= from) continue;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.fillStyle = colour;
      for (let bar = Math.floor(from / step); bar < bars && bar * step < to; bar++) {
        let level = 0;
        if (peaks) {
          const last = Math.max(Math.ceil((bar + 1) * peaks.length / bars), 1);
          for (let i = Math.floor(bar * peaks.length / bars); i < last; i++) level = Math.max(level, peaks[i]);
        }
        const size = Math.max(1, Math.round(level / highest * height));
        context.fillRect(bar * step, (height - size) / 2, step - 1, size);
      }
      context.restore();
    }
  };
})();
