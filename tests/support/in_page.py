"""Scripts that tests run in a page, in any browser."""

from __future__ import annotations

from pathlib import Path

AUDIO = "document.querySelector('#player audio')"
READ = "performance.getEntriesByName('gansynth-complete').length > 0"
"""Whether the listening page has read all of its index."""
STILL = "document.getAnimations().length === 0"
"""Whether no colour changes any more."""

WATCH = """(() => {
  const media = HTMLMediaElement.prototype, { play } = media;
  const time = Object.getOwnPropertyDescriptor(media, "currentTime");
  window.watched = { endless: true, plays: [], seeks: [], heard: {} };
  Object.defineProperty(media, "currentTime", { ...time, set(seconds) {
    watched.seeks.push(seconds);
    time.set.call(this, seconds);
  } });
  media.play = function () {
    this.loop = watched.endless;
    watched.plays.push(this);
    return play.call(this);
  };
  addEventListener("timeupdate", ({ target }) => {
    if (target.paused || target.seeking) return;
    watched.heard[target.currentSrc] = Math.max(watched.heard[target.currentSrc] ?? 0, target.currentTime);
  }, true);
})();"""
"""Keeps what was told to play (`watched.plays`), where to (`watched.seeks`), and how far each sound was heard.

The last is in `watched.heard`, by the sound's address. To be run before the page's own scripts. So nothing depends on
when a test looks, and no sound ends while a slow machine works, unless `watched.endless` is false.
"""

LAST_NOTE = "(({src, playbackRate, preservesPitch}) => [src, playbackRate, preservesPitch])(watched.plays.at(-1))"
"""The sound that was told to play last, how fast, and whether at its pitch; needs WATCH."""

WATCH_SAMPLES = """(() => {
  window.started = []; window.ramps = [];
  const { start } = AudioBufferSourceNode.prototype, { setTargetAtTime } = AudioParam.prototype;
  AudioBufferSourceNode.prototype.start = function (...all) {
    this.loop = true;
    started.push(all);
    return start.apply(this, all);
  };
  AudioParam.prototype.setTargetAtTime = function (...all) {
    ramps.push(all);
    return setTargetAtTime.apply(this, all);
  };
})();"""
"""Keeps when decoded sounds were started (`started`) and to which levels they were faded (`ramps`). None ends."""

CONTRASTS = """(() => {
  const luminance = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((a, b) => b - a))
    .map(([light, dark]) => (light + 0.05) / (dark + 0.05));
})()"""
"""The contrast of each text with what is behind it, as WCAG 2 defines it."""

OVERLAPS = """(selector) => {
  const boxes = [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && !e.matches(".sr, canvas, audio"))
    .map((e) => [e, e.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
  return boxes.flatMap(([one, a], i) => boxes.slice(i + 1)
    .filter(([other, b]) => one.parentElement === other.parentElement &&
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
      Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([other]) => `${one.className} over ${other.className}`));
}"""
"""The elements of one parent that lie over each other."""

VIOLATIONS = """axe.run(document, {resultTypes: ["violations"]}).then(
  ({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))"""
"""What axe-core finds wrong with the page; needs `axe_core` to have been run."""


def heard(seconds: float) -> str:
    """Returns whether what the player has now was heard up to a time; needs WATCH."""
    return f"(watched.heard[{AUDIO}.currentSrc] ?? 0) > {seconds}"


def axe_core() -> str:
    """Returns axe-core's script."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
