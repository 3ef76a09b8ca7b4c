/*
 * A list of any length, of which only the items in sight are in the document. Items have one usual height; those that
 * differ are measured, and the differences are kept in a Fenwick tree, so that finding a position takes O(log n).
 */
"use strict";
gansynth.List = class {
  static #MARGIN = 600; // pixels above and below the window in which items are made in advance
  static #FEW = 50; // so many are all in the document, where the browser's own search and printing find them

  #container;
  #make;
  #items = [];
  #height = 1;
  #extra = new Float64Array(1); // Fenwick tree of differences from the usual height
  #differs = new Map(); // difference by position
  #shown = new Map(); // element by position
  #sizes;

  /*
   * make(item, position): returns the element of an item, which is told with the events "shown" and "removed" that it
   * has come into the document and is leaving it.
   */
  constructor(container, make) {
    this.#container = container;
    this.#make = make;
    this.#sizes = new ResizeObserver((entries) => this.#measure(entries));
    addEventListener("scroll", () => this.#update(), { passive: true });
    addEventListener("resize", () => this.#update());
  }

  get items() { return this.#items; }

  /* The elements in the document, by position. */
  get shown() { return this.#shown; }

  /* Shows other items; height is the usual height of one in pixels. */
  show(items, height) {
    this.#items = items;
    this.#height = height;
    this.#extra = new Float64Array(items.length + 1);
    this.#differs.clear();
    this.#clear();
    this.#update();
  }

  /* Makes an item's element anew, as after it was opened. */
  remake(position) {
    const old = this.#shown.get(position);
    if (!old) return;
    this.#remove(position);
    this.#update();
  }

  /* Scrolls the window until an item is in sight; to the top if it was not. */
  reveal(position, toTop = false) {
    const top = this.#container.getBoundingClientRect().top + this.#offset(position), height = this.#size(position);
    const free = this.#free();
    if (!toTop && top >= free.top && top + Math.min(height, free.bottom - free.top) <= free.bottom) return;
    scrollBy({ top: top - free.top - 12, behavior: "instant" });
    this.#update();
  }

  #free() { // the part of the window that nothing covers
    const style = getComputedStyle(document.documentElement);
    return { top: parseFloat(style.scrollPaddingTop) || 0, bottom: innerHeight - (parseFloat(style.scrollPaddingBottom) || 0) };
  }

  #offset(position) { // pixels above an item
    let sum = position * this.#height;
    for (let i = position; i > 0; i -= i & -i) sum += this.#extra[i];
    return sum;
  }

  #size(position) { return this.#height + (this.#differs.get(position) ?? 0); }

  #at(y) { // position of the item at a height
    let low = 0, high = this.#items.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#offset(middle) <= y) low = middle; else high = middle - 1;
    }
    return low;
  }

  #update() {
    const count = this.#items.length;
    this.#container.style.height = `${this.#offset(count)}px`;
    if (!count) return;
    const top = -this.#container.getBoundingClientRect().top, margin = count > gansynth.List.#FEW ? gansynth.List.#MARGIN : Infinity;
    const first = this.#at(top - margin), last = this.#at(top + innerHeight + margin);
    for (const [position, element] of this.#shown) {
      const isUsed = element.contains(document.activeElement); // removing it would lose the keyboard's place
      if ((position < first || position > last) && !isUsed) this.#remove(position);
    }
    for (let position = first; position <= last; position++) {
      if (this.#shown.has(position)) continue;
      const made = this.#make(this.#items[position], position), element = document.createElement("div");
      element.append(made);
      element.setAttribute("role", "listitem");
      element.setAttribute("aria-setsize", count);
      element.setAttribute("aria-posinset", position + 1);
      const after = this.#after(position);
      this.#container.insertBefore(element, after);
      this.#shown.set(position, element);
      this.#sizes.observe(element);
      made.dispatchEvent(new Event("shown"));
    }
    this.#place();
  }

  #after(position) { // the element before which an item goes, so that Tab and screen readers follow the order
    let next = null, nearest = Infinity;
    for (const [other, element] of this.#shown) if (other > position && other < nearest) { nearest = other; next = element; }
    return next;
  }

  #place() {
    for (const [position, element] of this.#shown) element.style.transform = `translateY(${this.#offset(position)}px)`;
  }

  #measure(entries) {
    const top = -this.#container.getBoundingClientRect().top;
    let moved = 0, changed = false;
    for (const { target } of entries) {
      const position = [...this.#shown].find(([, element]) => element === target)?.[0];
      if (position === undefined) continue;
      const delta = target.offsetHeight - this.#size(position);
      if (Math.abs(delta) < 0.5) continue;
      if (this.#offset(position) + this.#size(position) <= top) moved += delta; // above the window: what is in it stays
      this.#differs.set(position, (this.#differs.get(position) ?? 0) + delta);
      for (let i = position + 1; i < this.#extra.length; i += i & -i) this.#extra[i] += delta;
      changed = true;
    }
    if (!changed) return;
    this.#update();
    if (moved) scrollBy({ top: moved, behavior: "instant" });
  }

  #remove(position) {
    const element = this.#shown.get(position);
    this.#sizes.unobserve(element);
    this.#shown.delete(position);
    element.firstElementChild.dispatchEvent(new Event("removed"));
    element.remove();
  }

  #clear() { for (const position of [...this.#shown.keys()]) this.#remove(position); }
};
